"""Patch pixels in, label maps out. Knows devices and precision; knows nothing of slides."""

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..card import ModelCard
from ..errors import InputError
from ..network.base import ContextFeatures, SegmentationNetwork
from ..network.build import build_network
from ..network.encoder import fold_batch_norms
from ..weights import load_weights
from .argmax import argmax_labels
from .batching import Batching, BatchSize, with_second_try
from .compile import check_compiler, compile_network
from .device import PRECISIONS, choose_device, choose_precision, computing_on
from .preprocess import Normaliser, context_from_region
from .transfer import PendingLabels, Transfer

StageTimer = Callable[[str], AbstractContextManager[object]]
"""Gives what a named stage of the work runs inside of, such as a clock."""


@dataclass(frozen=True, slots=True)
class PatchSizes:
    """Sizes in a patch: in label px, the pixels of its region, but for what the network sees."""

    window_px: int
    """Side of a slice window."""
    halo_px: int
    """Margin of a window whose labels are not kept."""
    slice_network_px: int
    """Side of a slice as the network sees it, network px."""
    context_network_px: int
    """Side of the context, network px."""
    context_inset_px: int = 0
    """How far inside the edges of the region its context begins."""

    @property
    def tile_px(self) -> int:
        """Side of what is kept of a window."""
        return self.window_px - 2 * self.halo_px


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A patch on the device. Behind the last window it is repeated, for passes that are filled up."""

    region: Tensor
    """(H, W, 3) uint8."""
    corners: tuple[tuple[int, int], ...]
    places: Tensor
    """(len(corners), 4) float32: see SegmentationNetwork."""
    context: ContextFeatures | None
    sizes: PatchSizes


class Segmenter:
    """A network made ready for inference: folded, on its device, in its precision.

    Works on a copy, so a network in training can be evaluated. ARCHITECTURE.md says when labels are the same to the
    byte. Peak memory on a CPU: the weights, the patch region (3 bytes a pixel), its labels and the activations of the
    context or, if larger, of a batch of slices; on a GPU 12 bytes a pixel more while the context is made, and region and
    labels of the next patch.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        card: ModelCard,
        *,
        device: str = "auto",
        precision: str = "auto",
        batch_size: BatchSize = "auto",
        compiled: bool = False,
    ) -> None:
        """`batch_size`: see Batching. `compiled`: see compile_network; the first patch of each size then takes minutes
        longer. Raises DeviceError."""
        self.card = card
        self._device = choose_device(device)
        self.device = str(self._device)
        self.dtype = choose_precision(precision, self._device)
        self.compiled = compiled
        self._network = copy.deepcopy(network).eval()
        fold_batch_norms(self._network)
        with_second_try(lambda: self._network.to(self._device, PRECISIONS[self.dtype]), self._device)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
        if compiled:
            check_compiler(self._device)
            compile_network(self._network)
        self._normalise = Normaliser(card.normalisation, self._device)
        self._batching = Batching(batch_size, self._device, padded=compiled)
        self._transfer = Transfer(self._device)

    @classmethod
    def load(
        cls,
        card_path: Path,
        *,
        device: str = "auto",
        precision: str = "auto",
        batch_size: BatchSize = "auto",
        compiled: bool = False,
    ) -> Self:
        """The model of a card, its weights lying beside it. Raises CardError, WeightsError, DeviceError."""
        card = ModelCard.load(card_path)
        network = build_network(card.network, len(card.classes))
        load_weights(network, card_path.with_name(card.weights.file), sha256=card.weights.sha256)
        return cls(
            network, card, device=device, precision=precision, batch_size=batch_size, compiled=compiled
        )

    @property
    def network(self) -> SegmentationNetwork:
        """The network as it computes: folded, on its device, in its precision, compiled if it is."""
        return self._network

    @property
    def batch_size_asked(self) -> BatchSize:
        """The most slices in one pass, as it was asked for; on a CPU never "auto"."""
        return self._batching.asked

    def batch_size(self, sizes: PatchSizes) -> int | None:
        """Slices in one pass of the network for patches of these sizes; None before the first such patch."""
        return self._batching.size(sizes)

    def label_patch(
        self,
        pixels: NDArray[np.uint8],
        corners: Sequence[tuple[int, int]],
        *,
        window_px: int,
        halo_px: int,
        slice_network_px: int,
        context_network_px: int,
        context_inset_px: int = 0,
        stage: StageTimer = nullcontext,
    ) -> NDArray[np.uint8]:
        """`submit`, with its sizes by name, and `collect` in one."""
        sizes = PatchSizes(window_px, halo_px, slice_network_px, context_network_px, context_inset_px)
        return self.collect(self.submit(pixels, corners, sizes, stage=stage), stage=stage)

    @torch.inference_mode()
    def submit(
        self,
        pixels: NDArray[np.uint8],
        corners: Sequence[tuple[int, int]],
        sizes: PatchSizes,
        *,
        stage: StageTimer = nullcontext,
    ) -> PendingLabels:
        """Begin to label slice windows of one patch region; `collect` gives the labels.

        `pixels` (H, W, 3) RGB is the region in label px, `corners` the (x, y) of its windows. The region, without
        `sizes.context_inset_px` on each side, becomes the context, encoded once; windows run in batches and only their
        centres are kept. A CPU has done it all on return; a GPU has only been told, and can be told the next patch before
        this one is collected, so that it need not wait. `stage` is called with "context" and "slices": on a CPU they
        hold the seconds of each, on a GPU those of telling it, and waiting for it falls into "slices".

        Raises InputError for a window outside the region, DeviceMemoryError.
        """
        _check_windows(pixels, corners, sizes.window_px)
        if not corners:
            return PendingLabels(torch.empty(0, sizes.tile_px, sizes.tile_px, dtype=torch.uint8))
        with computing_on(self._device):
            with stage("context"):
                patch, labels = with_second_try(
                    lambda: (self._prepare(pixels, corners, sizes), self._blank(len(corners), sizes)),
                    self._device,
                )
            with stage("slices"):

                def run_pass(start: int, stop: int) -> None:
                    # What lies beyond the last window is filling.
                    labels[start:stop] = self._labels(patch, start, stop)[: len(corners) - start]

                self._batching.run(len(corners), sizes, run_pass)
            return self._transfer.download(labels)

    def collect(self, pending: PendingLabels, *, stage: StageTimer = nullcontext) -> NDArray[np.uint8]:
        """Labels (N, tile, tile) of values 1..K of the N windows submitted, tile = window_px - 2 * halo_px; waits for a GPU.

        `stage` is called with "slices".
        """
        with stage("slices"):
            return pending.wait()

    def _blank(self, count: int, sizes: PatchSizes) -> Tensor:
        """Room for labels."""
        shape = (count, sizes.tile_px, sizes.tile_px)
        return torch.empty(shape, dtype=torch.uint8, device=self._device)

    def _prepare(
        self, pixels: NDArray[np.uint8], corners: Sequence[tuple[int, int]], sizes: PatchSizes
    ) -> _Prepared:
        """Upload what all windows need, at once: an upload for each batch would make the GPU wait for it."""
        filled = (*corners, *[corners[-1]] * (self._batching.largest - 1))
        region = self._transfer.upload(pixels)
        field = _without_border(region, sizes.context_inset_px)
        places = self._transfer.upload(_places(filled, sizes, field.shape))
        return _Prepared(region, filled, places, self._encode_context(field, sizes.context_network_px), sizes)

    def _encode_context(self, region: Tensor, side_px: int) -> ContextFeatures | None:
        if not self.card.network.sees_patch:
            return None
        context = self._normalise(context_from_region(region, side_px)).to(PRECISIONS[self.dtype])
        return self._network.encode_context(context)

    def _labels(self, patch: _Prepared, start: int, stop: int) -> Tensor:
        """uint8 (stop - start, tile, tile) on the device."""
        side = patch.sizes.window_px
        windows = torch.stack(
            [patch.region[y : y + side, x : x + side] for x, y in patch.corners[start:stop]]
        )
        logits = self._logits(
            windows.permute(0, 3, 1, 2),
            patch.sizes.slice_network_px,
            patch.context,
            patch.places[start:stop],
        )
        return argmax_labels(logits, side, patch.sizes.halo_px)

    def _logits(
        self, windows: Tensor, side_px: int, context: ContextFeatures | None, places: Tensor
    ) -> Tensor:
        """float32 (N, K, h, w), at the network's own size, of uint8 windows (N, 3, window_px, same)."""
        images = windows.float()
        if images.shape[-1] != side_px:
            size = (side_px, side_px)
            images = F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
        logits: Tensor = self._network(self._normalise(images).to(PRECISIONS[self.dtype]), context, places)
        return logits.float().contiguous()


def _places(
    corners: Sequence[tuple[int, int]], sizes: PatchSizes, field: tuple[int, ...]
) -> NDArray[np.float32]:
    """(N, 4): left, top, right, bottom of each window as fractions of the context's field (H, W, ...)."""
    edges = np.array([(x, y, x + sizes.window_px, y + sizes.window_px) for x, y in corners], np.float32)
    sides = np.array([field[1], field[0]] * 2, np.float32)
    return (edges - sizes.context_inset_px) / sides


def _without_border(region: Tensor, border_px: int) -> Tensor:
    """(H, W, 3) -> (H - 2 * border_px, W - 2 * border_px, 3), a view."""
    return region[border_px : len(region) - border_px, border_px : region.shape[1] - border_px]


def _check_windows(pixels: NDArray[np.uint8], corners: Sequence[tuple[int, int]], window_px: int) -> None:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise InputError(f"pixels must be (H, W, 3) uint8, not {pixels.shape} {pixels.dtype}")
    height, width = pixels.shape[:2]
    for x, y in corners:
        if not (0 <= x <= width - window_px and 0 <= y <= height - window_px):
            raise InputError(
                f"a window of {window_px} px at ({x}, {y}) is outside the region of {width} x {height} px"
            )
