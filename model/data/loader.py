"""Load training batches: patches with their context and slices, read from the slides on the fly.

A batch is a pure function of (slides, seed, step, spec), whatever the number of threads or processes: a
resumed training sees what an undisturbed one would, and several GPUs together see what one would.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .augment import Augmentation
from .batch import BatchSpec
from .sampler import CELL_PX, PatchSample, PatchSampler

FILES_READ_AT_ONCE = 4
"""Decoding runs outside the interpreter's lock; more threads would take cores from the network."""


@dataclass(frozen=True, slots=True)
class Batch:
    """P patches with S slices each, in patch-major order. Pixel values are 0..255."""

    slices: Tensor
    """(P * S, 3, h, w) uint8."""
    labels: Tensor
    """(P * S, h, w) uint8, 0 = ignored by the loss."""
    context: Tensor
    """(P, 3, c, c) float32; (P, 3, 0, 0) where none is read."""
    context_labels: Tensor
    """(P, c, c) uint8: the truth under each pixel of the context, looked up in the middle of its cell
    of CELL_PX label px.

    It is finer than the coarse map that learns from it, which is 1 / 32 of the context: truth as coarse as
    that trains more slowly."""
    boxes: Tensor
    """(P * S, 4) float32: left, top, right, bottom of each slice as fractions of its context."""


@dataclass(frozen=True, slots=True)
class _Patch:
    """Part of a batch that one patch makes, as arrays of the same meaning."""

    slices: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    context: NDArray[np.uint8]
    context_labels: NDArray[np.uint8]
    boxes: NDArray[np.float32]


class BatchLoader:
    """Training batches, read from the patches that `sampler` chooses."""

    def __init__(
        self,
        sampler: PatchSampler,
        *,
        seed: int,
        stain_jitter: float,
        threads: int = 1,
        with_context: bool = True,
    ) -> None:
        """Set up reading; without a context (for networks that see none), slices alone are read."""
        self._sampler = sampler
        self._seed = seed
        self._stain_jitter = stain_jitter
        self._with_context = with_context
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="patches") if threads > 1 else None

    def batch(self, step: int, spec: BatchSpec, *, rank: int = 0, ranks: int = 1) -> Batch:
        """Return the batch of a training step.

        Of several processes each gets the patches rank, rank + ranks, ...
        """

        def patch(index: int) -> _Patch:
            return self._patch(step, index, spec)

        indices = range(rank, spec.patches, ranks)
        patches = list(self._pool.map(patch, indices) if self._pool else map(patch, indices))
        return Batch(
            slices=torch.from_numpy(np.concatenate([one.slices for one in patches])).permute(0, 3, 1, 2),
            labels=torch.from_numpy(np.concatenate([one.labels for one in patches])),
            context=torch.from_numpy(np.stack([one.context for one in patches])).permute(0, 3, 1, 2).float(),
            context_labels=torch.from_numpy(np.stack([one.context_labels for one in patches])),
            boxes=torch.from_numpy(np.concatenate([one.boxes for one in patches])),
        )

    def _patch(self, step: int, index: int, spec: BatchSpec) -> _Patch:
        rng = np.random.default_rng((self._seed, step, index))
        sample = self._sampler.draw(rng, step * spec.patches + index, spec)
        augmentation = Augmentation.draw(rng, self._stain_jitter)
        slide, view, side_px = sample.slide.slide, sample.view, spec.slice_px
        slices = np.empty((len(view.corners), side_px, side_px, 3), np.uint8)
        labels = np.empty((len(view.corners), side_px, side_px), np.uint8)
        for k, rect in enumerate(view.slices):
            pixels = _resized(slide.read_pixels(rect), side_px)
            slices[k] = augmentation.turn(augmentation.stain(pixels))
            labels[k] = augmentation.turn(_picked(slide.read_truth(rect), side_px))
        context, context_labels = np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0), np.uint8)
        if self._with_context:
            context = slide.read_context(view.context, view.context_network_px)
            context, context_labels = augmentation.stain(context), _context_truth(sample)
        return _Patch(
            slices=slices,
            labels=labels,
            context=augmentation.turn(context),
            context_labels=augmentation.turn(context_labels),
            boxes=augmentation.turn_boxes(view.boxes),
        )


def _resized(pixels: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    if len(pixels) == side_px:
        return pixels
    # Pillow widens the filter when it reduces, so nothing aliases.
    return np.asarray(Image.fromarray(pixels).resize((side_px, side_px), Image.Resampling.BILINEAR))


def _picked(labels: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """Resize a label map to (side_px, side_px): take the value under each middle.

    Classes cannot be averaged.
    """
    if len(labels) == side_px:
        return labels
    middles = ((np.arange(side_px) + 0.5) * len(labels) / side_px).astype(np.intp)
    picked: NDArray[np.uint8] = labels[np.ix_(middles, middles)]
    return picked


def _context_truth(sample: PatchSample) -> NDArray[np.uint8]:
    """Return the truth about the middle of each pixel of the context.

    (context_network_px, context_network_px) uint8.
    """
    cells, context, side_px = sample.slide.cells, sample.view.context, sample.view.context_network_px
    middles = (np.arange(side_px) + 0.5) * context.width / side_px
    rows, columns = (
        np.floor((start + middles) / CELL_PX).astype(np.intp) for start in (context.y, context.x)
    )
    on_rows, on_columns = (rows >= 0) & (rows < cells.shape[0]), (columns >= 0) & (columns < cells.shape[1])
    truth = np.zeros((side_px, side_px), np.uint8)
    truth[np.ix_(on_rows, on_columns)] = cells[np.ix_(rows[on_rows], columns[on_columns])]
    return truth
