"""Patch pixels in, label maps out. Knows devices and precision; knows nothing of slides."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wsi.patch_view import PatchView

from ..card import ModelCard
from ..errors import DeviceError, InputError
from ..network.base import ContextWindows, SegmentationNetwork
from ..network.build import build_network
from ..weights import load_weights
from .argmax import argmax_labels, centre_logits, largest_labels
from .backend import Backend, EncodedContext
from .batching import Batching, BatchSize, with_second_try
from .choose_backend import choose_backend, openvino_backend
from .device import computing_on
from .onnx_backend import OnnxBackend
from .preprocess import context_from_region
from .probabilities import winner_probabilities
from .torch_backend import TorchBackend
from .transfer import PendingLabels, Transfer

StageTimer = Callable[[str], AbstractContextManager[object]]
"""Returns a context manager that times the named stage."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Patch tensors on the device; the last window is repeated to pad the final batch."""

    region: Tensor
    """(H, W, 3) uint8."""
    windows: tuple[tuple[int, int], ...]
    """(x, y) of each in the region."""
    boxes: Tensor
    """(len(windows), 4) float32: see SegmentationNetwork."""
    context: EncodedContext | None
    view: PatchView
    margin: int
    """Logits at each edge of a window that are left out."""
    margin_px: int
    """The same in label px."""

    @property
    def covered(self) -> tuple[int, int]:
        """Side of what a window's logits cover, and the halo in it, label px."""
        return self.view.window_px - 2 * self.margin_px, self.view.halo_px - self.margin_px

    def context_of(self, start: int, stop: int) -> EncodedContext | None:
        """Return the features that windows start..stop see: their own, or those of the one context."""
        if self.context is None or not self.view.context_windows:
            return self.context
        return self.context.part(start, stop)


class Segmenter:
    """A network made ready for inference, in torch or in another back end.

    Works on a copy of a network in torch, so one in training can be evaluated. docs/decisions/0015 says when
    labels are the same to the byte. Peak memory on a CPU: the weights, the patch region (3 bytes a pixel),
    its labels and the activations of the context or, if larger, of a batch of slices; on a GPU 12 bytes a
    pixel more while the context is made, and region and labels of the next patch.
    """

    def __init__(
        self,
        network: SegmentationNetwork | Backend,
        card: ModelCard,
        *,
        device: str = "auto",
        precision: str = "auto",
        batch_size: BatchSize = "auto",
        compiled: bool = False,
    ) -> None:
        """Make a network ready.

        Args:
            network: Of torch, or a back end, which is ready: device, precision and compiling are its own.
            card: Card of the network.
            device: See `choose_device`.
            precision: See `choose_precision`.
            batch_size: See Batching.
            compiled: See `compile_network`. Compiled, the first patch of each shape takes minutes longer.

        Raises:
            DeviceError: the device or precision is not to be had here, or nothing can be compiled.
        """
        if not isinstance(network, Backend):
            network = TorchBackend(
                network, card.normalisation, device=device, precision=precision, compiled=compiled
            )
        self.card = card
        self._backend: Backend = network
        self._device = self._backend.device
        self._batching = Batching(batch_size, self._device, padded=self._backend.compiled)
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
        backend: str = "auto",
        int8_dir: Path | None = None,
    ) -> Self:
        """Load the model of a card; its weights, or its ONNX file, lie beside it.

        What computes it is chosen by `choose_backend`; that of an ONNX file is ONNX Runtime. A quantised form
        lies in `int8_dir` (`inference.int8_graph`).

        Raises:
            CardError: the card cannot be read, or is not that of the ONNX file.
            WeightsError: the weights cannot be read or are not the card's.
            DeviceError: the back end, device or precision is not to be had here.
        """
        card = ModelCard.load(card_path)
        if card.network.architecture == "onnx":
            graph = OnnxBackend.load(card_path, card, device=device, precision=precision)
            return cls(graph, card, batch_size=batch_size)
        chosen = choose_backend(backend, precision, device)
        network = build_network(card.network, len(card.classes))
        load_weights(network, card_path.with_name(card.weights.file), sha256=card.weights.sha256)
        if chosen == "openvino":
            own = openvino_backend(network, card, precision=precision, int8_dir=int8_dir)
            return cls(own, card, batch_size=batch_size)
        return cls(
            network, card, device=device, precision=precision, batch_size=batch_size, compiled=compiled
        )

    @property
    def backend(self) -> str:
        """Name of what computes: "torch", or another with its version."""
        return self._backend.name

    @property
    def device(self) -> str:
        """Device by torch's name."""
        return str(self._device)

    @property
    def dtype(self) -> str:
        """Number format: "fp32", "bf16", "fp16" or "int8"."""
        return self._backend.dtype

    @property
    def batch_matters(self) -> bool:
        """Whether labels may depend on how many slices go in one pass."""
        return self._backend.batch_matters

    @property
    def computing(self) -> Backend:
        """The back end itself, for measuring it alone."""
        return self._backend

    @property
    def compiled(self) -> bool:
        """Whether the network is compiled."""
        return self._backend.compiled

    @property
    def network(self) -> SegmentationNetwork:
        """The network as it computes in torch: folded, on its device, in its precision, compiled if it is.

        Raises:
            DeviceError: it does not compute in torch.
        """
        if not isinstance(self._backend, TorchBackend):
            raise DeviceError(f"{self.card.name} computes in {self.backend}; there is no network in torch")
        return self._backend.network

    @property
    def batch_size_asked(self) -> BatchSize:
        """The most slices in one pass, as it was asked for; on a CPU never "auto"."""
        return self._batching.asked

    def batch_size(self, view: PatchView) -> int | None:
        """Slices in one pass of the network for patches of this shape; None before the first such patch."""
        return self._batching.size(view.shape)

    def label_patch(
        self,
        pixels: NDArray[np.uint8],
        view: PatchView,
        *,
        context: NDArray[np.uint8] | None = None,
        stage: StageTimer = nullcontext,
    ) -> NDArray[np.uint8]:
        """Label the slices of one patch: `submit` and `collect` in one."""
        return self.collect(self.submit(pixels, view, context=context, stage=stage), stage=stage)

    @torch.inference_mode()
    def submit(
        self,
        pixels: NDArray[np.uint8],
        view: PatchView,
        *,
        context: NDArray[np.uint8] | None = None,
        stage: StageTimer = nullcontext,
        probabilities: bool = False,
    ) -> PendingLabels:
        """Begin to label the slices of one patch; `collect` returns the labels.

        `pixels` (H, W, 3) RGB uint8 is the view's region. `context`, (side, side, 3) of
        `view.context_network_px`, is what the context windows lie in; where all slices see the patch it is
        cut from the region instead. It is encoded once; windows run in batches and only their centres are
        kept. A CPU has done it all on return; a GPU has only been told, and can be told the next patch before
        this one is collected, so that it need not wait. `stage` is called with "context" and "slices": on a
        CPU they hold the seconds of each, on a GPU those of telling it, and waiting for it falls into
        "slices". With `probabilities` the result has those of the labels too (`winner_probabilities`).

        Raises:
            InputError: pixels or context are not the view's, or a window is outside the region.
            DeviceMemoryError: not even the context or one slice fits.
        """
        _check_view(pixels, view)
        if self.card.network.sees_patch:
            _check_context(context, view)
        if not (count := len(view.corners)):
            return _no_labels(view, probabilities)
        with computing_on(self._device):
            with stage("context"):
                patch, labels = with_second_try(
                    lambda: (self._prepare(pixels, view, context), self._blank(count, view, probabilities)),
                    self._device,
                )
            with stage("slices"):
                self._label_all(patch, labels, probabilities)
            further = self._transfer.download(labels[1]) if probabilities else None
            return replace(self._transfer.download(labels[0]), probabilities=further)

    def _label_all(self, patch: _Prepared, labels: Tensor, probabilities: bool) -> None:
        """Write what `_labels` says of all windows of a patch into `labels`, batch by batch."""
        count = labels.shape[1]

        def run_pass(start: int, stop: int) -> None:
            found = self._labels(patch, start, stop, probabilities)
            # What lies beyond the last window is padding.
            labels[:, start:stop] = found[:, : count - start]

        view = patch.view
        self._batching.run(count, view.shape, run_pass, window_px=view.slice_network_px)

    def collect(self, pending: PendingLabels, *, stage: StageTimer = nullcontext) -> NDArray[np.uint8]:
        """Return the labels (N, slice_px, slice_px) of the slices submitted, values 1..K; waits for a GPU.

        `stage` is called with "slices".
        """
        with stage("slices"):
            return pending.wait()

    @torch.inference_mode()
    def logits(
        self,
        pixels: NDArray[np.uint8],
        view: PatchView,
        *,
        context: NDArray[np.uint8] | None = None,
        step: int = 1,
    ) -> NDArray[np.float32]:
        """Return the logits of every `step`-th label px of a patch's slices: (N, K, side, side) float32.

        They are those of label px step // 2, step // 2 + step, ... of both axes. For pixels, view, context
        and errors see `submit`. Memory beside that of `submit`: the logits of a batch at label px, and the
        result.
        """
        if not self.card.gives_probabilities:
            raise InputError(f"{self.card.name} gives labels alone, no logits or probabilities")
        _check_view(pixels, view)
        if self.card.network.sees_patch:
            _check_context(context, view)
        count, first = len(view.corners), step // 2

        def run_pass(start: int, stop: int) -> None:
            window_logits = self._window_logits(patch, start, stop)[: count - start]
            kept = centre_logits(window_logits, *patch.covered)
            results[start : start + len(kept)] = kept[:, :, first::step, first::step].cpu()

        with computing_on(self._device):
            patch = with_second_try(lambda: self._prepare(pixels, view, context), self._device)
            side = len(range(first, view.slice_px, step))
            results = torch.empty(count, len(self.card.classes), side, side)
            self._batching.run(count, view.shape, run_pass, window_px=view.slice_network_px)
        return results.numpy()

    def _blank(self, count: int, view: PatchView, probabilities: bool) -> Tensor:
        """Return room for the labels of `count` slices, and for their probabilities: see `_labels`."""
        shape = (1 + probabilities, count, view.slice_px, view.slice_px)
        return torch.empty(shape, dtype=torch.uint8, device=self._device)

    def _prepare(
        self, pixels: NDArray[np.uint8], view: PatchView, context: NDArray[np.uint8] | None
    ) -> _Prepared:
        """Upload what all windows need, at once: an upload for each batch would make the GPU wait for it."""
        padding = self._batching.largest - 1
        windows = (*view.windows, *view.windows[-1:] * padding)
        boxes = np.concatenate([view.boxes, np.repeat(view.boxes[-1:], padding, axis=0)])
        region = self._transfer.upload(pixels)
        features = self._encode_context(region, view, context) if self.card.network.sees_patch else None
        margin = self.margin(view)
        margin_px = margin * (self._backend.logit_px or 0)
        return _Prepared(region, windows, self._transfer.upload(boxes), features, view, margin, margin_px)

    def margin(self, view: PatchView) -> int:
        """Return how many logits at each edge of a window no label of its centre depends on.

        Enlarging them looks one logit beyond the centre. 0 where the back end cannot leave them out.
        """
        px = self._backend.logit_px
        if px is None or view.slice_network_px != view.window_px or view.halo_px % px:
            return 0
        return max(0, view.halo_px // px - 1)

    def _encode_context(
        self, region: Tensor, view: PatchView, context: NDArray[np.uint8] | None
    ) -> EncodedContext:
        """Encode the context of a patch, once for all its slices."""
        if context is None:
            inside = view.context_in_region
            field = region[inside.y : inside.bottom, inside.x : inside.right]
            image = context_from_region(field, view.context_network_px)
            return self._backend.encode_context(image, None)
        image = self._transfer.upload(context).permute(2, 0, 1).unsqueeze(0).float()
        boxes = self._transfer.upload(view.context_boxes)
        windows = ContextWindows(boxes, view.context_window_network_px)
        return self._backend.encode_context(image, windows)

    def _labels(self, patch: _Prepared, start: int, stop: int, probabilities: bool) -> Tensor:
        """Return labels, and behind them probabilities, on the device: uint8 (1 or 2, N, slice_px, same)."""
        logits = self._window_logits(patch, start, stop)
        if not probabilities:
            return argmax_labels(logits, *patch.covered).unsqueeze(0)
        kept = centre_logits(logits, *patch.covered)
        return torch.stack([largest_labels(kept), winner_probabilities(kept, self.card)])

    def _window_logits(self, patch: _Prepared, start: int, stop: int) -> Tensor:
        """Return float32 (stop - start, K, h, w), at the network's own size, of what is `covered`."""
        view, side = patch.view, patch.view.window_px
        windows = torch.stack(
            [patch.region[y : y + side, x : x + side] for x, y in patch.windows[start:stop]]
        )
        images = windows.permute(0, 3, 1, 2).float()
        if side != view.slice_network_px:
            size = (view.slice_network_px,) * 2
            images = F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
        context, boxes = patch.context_of(start, stop), patch.boxes[start:stop]
        return self._backend.logits(images, context, boxes, patch.margin)


def _no_labels(view: PatchView, probabilities: bool) -> PendingLabels:
    """Return the labels of no slices."""
    nothing = PendingLabels(torch.empty(0, view.slice_px, view.slice_px, dtype=torch.uint8))
    return replace(nothing, probabilities=nothing if probabilities else None)


def _check_view(pixels: NDArray[np.uint8], view: PatchView) -> None:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise InputError(f"pixels must be (H, W, 3) uint8, not {pixels.shape} {pixels.dtype}")
    height, width = pixels.shape[:2]
    if (width, height) != (view.region.width, view.region.height):
        raise InputError(f"pixels are {width} x {height}, not {view.region.size}; send those of the region")
    for x, y in view.windows:
        if not (0 <= x <= width - view.window_px and 0 <= y <= height - view.window_px):
            raise InputError(
                f"a window of {view.window_px} px at ({x}, {y}) is outside the region of "
                f"{width} x {height} px"
            )


def _check_context(context: NDArray[np.uint8] | None, view: PatchView) -> None:
    wanted = (view.context_network_px,) * 2 + (3,) if view.context_windows else None
    if (None if context is None else context.shape) != wanted:
        found = "none" if context is None else context.shape
        raise InputError(f"the context must be {wanted or 'left to the region'}, not {found}")
