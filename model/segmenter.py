"""Patch pixels in, label maps out. Knows devices and precision; knows nothing of slides."""

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from .build import build_network
from .card import ModelCard
from .checkpoint import load_weights
from .device import PRECISIONS, choose_device, choose_precision
from .encoder import fold_batch_norms
from .errors import InputError
from .network import ContextFeatures, SegmentationNetwork
from .preprocess import Normaliser, context_from_region

Stage = Callable[[str], AbstractContextManager[object]]
"""Gives what a named stage of the work runs inside of, such as a clock."""


class Segmenter:
    """A network made ready for inference: folded, on its device, in its precision.

    Works on a copy, so a network in training can be evaluated. The same calls give the same labels on the
    same CPU. Peak memory: the weights, the patch region (3 bytes a pixel; on a GPU 12 more while the context is
    made) and the activations of the context or, if larger, of `batch_size` slices.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        card: ModelCard,
        *,
        device: str = "auto",
        precision: str = "auto",
        batch_size: int = 4,
    ) -> None:
        self.card = card
        self._device = choose_device(device)
        self.device = str(self._device)
        self.dtype = choose_precision(precision, self._device)
        self._batch_size = batch_size
        self._network = copy.deepcopy(network).eval()
        fold_batch_norms(self._network)
        self._network.to(self._device, PRECISIONS[self.dtype])
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
        self._normalise = Normaliser(card.normalisation, self._device)

    @classmethod
    def load(
        cls, card_path: Path, *, device: str = "auto", precision: str = "auto", batch_size: int = 4
    ) -> Self:
        """The model of a card, its weights lying beside it. Raises CardError, WeightsError, DeviceError."""
        card = ModelCard.load(card_path)
        network = build_network(card.network, len(card.classes))
        load_weights(network, card_path.with_name(card.weights.file), sha256=card.weights.sha256)
        return cls(network, card, device=device, precision=precision, batch_size=batch_size)

    @property
    def network(self) -> SegmentationNetwork:
        """The network as it computes: folded, on its device, in its precision."""
        return self._network

    @torch.inference_mode()
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
        stage: Stage = nullcontext,
    ) -> NDArray[np.uint8]:
        """Labels of slice windows of one patch region.

        `pixels` (H, W, 3) RGB is the region in label px, `corners` the (x, y) of its windows of `window_px`
        square. The region, without `context_inset_px` on each side, becomes the context, encoded once; windows run
        in batches and only their centres are kept: (N, window_px - 2 * halo_px, same) of values 1..K. `stage` is
        called with "context" and "slices"; what a GPU has not done of the context yet falls into the second. Raises
        InputError for a window outside the region.
        """
        _check_windows(pixels, corners, window_px)
        tile_px = window_px - 2 * halo_px
        labels = np.empty((len(corners), tile_px, tile_px), np.uint8)
        if not corners:
            return labels
        with stage("context"):
            region = self._upload(pixels)
            field = _without_border(region, context_inset_px)
            context = self._encode_context(field, context_network_px)
        with stage("slices"):
            for start in range(0, len(corners), self._batch_size):
                batch = corners[start : start + self._batch_size]
                windows = torch.stack([region[y : y + window_px, x : x + window_px] for x, y in batch])
                places = self._places(batch, window_px, field.shape, context_inset_px)
                logits = self._logits(windows.permute(0, 3, 1, 2), slice_network_px, context, places)
                labels[start : start + len(batch)] = _likeliest(logits, window_px, halo_px).cpu().numpy()
        return labels

    def _upload(self, pixels: NDArray[np.uint8]) -> Tensor:
        # PyTorch warns of read-only arrays, and memory maps are that.
        shareable = pixels if pixels.flags.writeable and pixels.flags.c_contiguous else pixels.copy()
        return torch.from_numpy(shareable).to(self._device)

    def _encode_context(self, region: Tensor, side_px: int) -> ContextFeatures | None:
        if not self.card.network.sees_patch:
            return None
        context = self._normalise(context_from_region(region, side_px)).to(PRECISIONS[self.dtype])
        return self._network.encode_context(context)

    def _places(
        self, corners: Sequence[tuple[int, int]], window_px: int, field: tuple[int, ...], inset_px: int
    ) -> Tensor:
        """float32 (N, 4): left, top, right, bottom of each window as fractions of the context's field (H, W, ...)."""
        edges = [(x, y, x + window_px, y + window_px) for x, y in corners]
        sides = torch.tensor([field[1], field[0]] * 2)
        return ((torch.tensor(edges) - inset_px) / sides).to(self._device)

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


def _likeliest(logits: Tensor, window_px: int, halo_px: int) -> Tensor:
    """Class values (N, window_px - 2 * halo_px, same) uint8 in the middle of windows, from their logits of any size."""
    logits = F.interpolate(logits, size=(window_px, window_px), mode="bilinear", align_corners=False)
    kept = logits[:, :, halo_px : window_px - halo_px, halo_px : window_px - halo_px]
    # max gives the same indices as argmax, several times faster on a CPU for so few classes.
    return (kept.max(1).indices + 1).to(torch.uint8)


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
