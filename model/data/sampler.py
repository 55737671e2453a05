"""Random training items: patches with their context and slices, classes in balance.

A batch is a pure function of (slides, seed, step, stage): a resumed training sees what an undisturbed one
would.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.errors import CohortError
from model.preprocess import context_from_region
from model.recipe import Stage
from wsi.geometry import Rect
from wsi.grid import NETWORK_MULTIPLE_PX

from .augment import Augmentation
from .cached_slide import CachedSlide

CELL_PX = 16
"""Classes are looked up on every 16th label px of both axes."""


@dataclass(frozen=True, slots=True)
class Batch:
    """P patches with S slices each, in patch-major order. Pixel values are 0..255."""

    slices: Tensor
    """(P * S, 3, h, w) uint8."""
    labels: Tensor
    """(P * S, h, w) uint8, 0 = not to be learned."""
    context: Tensor
    """(P, 3, c, c) float32."""
    context_labels: Tensor
    """(P, c / 32, c / 32) uint8: the truth under the middle of each pixel of the context's coarsest feature map."""


@dataclass(frozen=True, slots=True)
class _IndexedSlide:
    slide: CachedSlide
    cells: NDArray[np.uint8]
    """The truth at every CELL_PX-th label px."""
    places: tuple[NDArray[np.intp], ...]
    """Flat positions in `cells`, per class; class k here is label k + 1."""


class PatchSampler:
    """Draws batches such that every class is asked for equally often, whatever its area.

    Patches lie anywhere an inference patch could reach, so their edges, glass and the slide's outside are
    seen in training as they are later. Memory: 9 / 256 byte a label px; pixels stay on disk.
    """

    def __init__(
        self, slides: Sequence[CachedSlide], classes: int, *, seed: int, stain_jitter: float
    ) -> None:
        """Raises CohortError when a class is in none of the slides, or a slide is not at the model's
        scale."""
        self._seed = seed
        self._stain_jitter = stain_jitter
        self._slides = [_index(slide, classes) for slide in slides]
        self._holders = [
            [indexed for indexed in self._slides if indexed.places[k].size] for k in range(classes)
        ]
        if absent := [k + 1 for k, holders in enumerate(self._holders) if not holders]:
            raise CohortError(
                f"no training slide has truth of class {absent}; add slides that do, or drop the class"
            )

    def batch(self, step: int, stage: Stage) -> Batch:
        """The batch of a training step."""
        rng = np.random.default_rng((self._seed, step))
        patches = [self._patch(rng, stage) for _ in range(stage.patches)]
        slices, labels, contexts, context_labels = zip(*patches, strict=True)
        return Batch(
            slices=torch.from_numpy(np.concatenate(slices)).permute(0, 3, 1, 2),
            labels=torch.from_numpy(np.concatenate(labels)),
            context=torch.cat(contexts),
            context_labels=torch.from_numpy(np.stack(context_labels)),
        )

    def _patch(
        self, rng: np.random.Generator, stage: Stage
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Tensor, NDArray[np.uint8]]:
        """Slices (S, h, w, 3), labels (S, h, w), context (1, 3, c, c) and its coarse labels of one random patch."""
        wanted = int(rng.integers(len(self._holders)))
        holders = self._holders[wanted]
        indexed = holders[rng.integers(len(holders))]
        region, first = _place(rng, indexed, wanted, stage.slice_px)
        others = (_square_in(rng, indexed, region, stage.slice_px) for _ in range(stage.slices - 1))
        squares = [first, *others][: stage.slices]
        augmentation = Augmentation.draw(rng, self._stain_jitter)
        pixels = indexed.slide.read_pixels(region)
        context = context_from_region(torch.from_numpy(pixels), indexed.slide.grid.context_network_px)
        slices = np.empty((stage.slices, stage.slice_px, stage.slice_px, 3), np.uint8)
        labels = np.empty((stage.slices, stage.slice_px, stage.slice_px), np.uint8)
        for k, square in enumerate(squares):
            x, y = square.x - region.x, square.y - region.y
            cut = pixels[y : y + square.height, x : x + square.width]
            slices[k] = augmentation.turn(augmentation.stain(cut))
            labels[k] = augmentation.turn(indexed.slide.read_truth(square))
        coarse = augmentation.turn(_coarse_truth(indexed, region))
        return slices, labels, augmentation.on_context(context), coarse


def _coarse_truth(indexed: _IndexedSlide, region: Rect) -> NDArray[np.uint8]:
    """The truth at the middle of each pixel of the context's stride-32 map: (c / 32, c / 32)."""
    side = indexed.slide.grid.context_network_px // NETWORK_MULTIPLE_PX
    middles = ((np.arange(side) + 0.5) * region.width / side).astype(np.intp)
    truth: NDArray[np.uint8] = indexed.slide.read_truth(region)[np.ix_(middles, middles)]
    return truth


def _place(rng: np.random.Generator, indexed: _IndexedSlide, wanted: int, slice_px: int) -> tuple[Rect, Rect]:
    """A random patch region and a slice in it that holds a random pixel of class `wanted`."""
    grid = indexed.slide.grid
    if slice_px > grid.region_px:
        raise CohortError(f"slice_px={slice_px} is larger than the patch region of {grid.region_px} px")
    places = indexed.places[wanted]
    row, column = divmod(int(places[rng.integers(places.size)]), indexed.cells.shape[1])
    edge = -grid.halo_px  # inference patches start here
    corners = []
    for at in (column * CELL_PX, row * CELL_PX):
        start = int(rng.integers(max(edge, at - slice_px + 1), at + 1))
        corners.append((int(rng.integers(max(edge, start + slice_px - grid.region_px), start + 1)), start))
    (region_x, x), (region_y, y) = corners
    return Rect(region_x, region_y, grid.region_px, grid.region_px), Rect(x, y, slice_px, slice_px)


def _square_in(rng: np.random.Generator, indexed: _IndexedSlide, region: Rect, slice_px: int) -> Rect:
    """A random slice inside the region that holds a pixel of a random class of those in the region."""
    top, left = max(0, -(-region.y // CELL_PX)), max(0, -(-region.x // CELL_PX))
    cells = indexed.cells[top : (region.bottom - 1) // CELL_PX + 1, left : (region.right - 1) // CELL_PX + 1]
    present = np.unique(cells[cells > 0])
    if not present.size:  # a region whose only truth fell between the cells
        return Rect(region.x, region.y, slice_px, slice_px)
    places = np.flatnonzero(cells == present[rng.integers(present.size)])
    row, column = divmod(int(places[rng.integers(places.size)]), cells.shape[1])
    x, y = (
        int(rng.integers(max(low, at - slice_px + 1), min(at, high - slice_px) + 1))
        for low, at, high in (
            (region.x, (left + column) * CELL_PX, region.right),
            (region.y, (top + row) * CELL_PX, region.bottom),
        )
    )
    return Rect(x, y, slice_px, slice_px)


def _index(slide: CachedSlide, classes: int) -> _IndexedSlide:
    if not slide.grid.exact:
        raise CohortError(
            f"{slide.name} has {slide.grid.label_mpp:g} um a label px, over 10 % off the model's scale; training reads "
            "slides as they are. Leave it out, or set input.mpp to fit the slides."
        )
    cells = np.ascontiguousarray(slide.truth[::CELL_PX, ::CELL_PX])
    if cells.max(initial=0) > classes:
        raise CohortError(
            f"the truth of {slide.name} has value {cells.max()}; the card has classes 1..{classes}"
        )
    return _IndexedSlide(slide, cells, tuple(np.flatnonzero(cells == k + 1) for k in range(classes)))
