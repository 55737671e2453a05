"""Interface between the Segmenter and what computes a network: torch, OpenVINO or ONNX Runtime."""

from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from ..network.base import ContextWindows


class EncodedContext(Protocol):
    """A patch's context as a back end keeps it, made once and used for all slices of the patch."""

    def part(self, start: int, stop: int) -> Self:
        """Return that of slices start..stop where each has a window of its own; pad with the last."""


@runtime_checkable
class Backend(Protocol):
    """A network that is loaded and ready; it owns number format, normalisation and threads.

    Images are RGB of 0..255, float32 (N, 3, H, W), at the network's scale, on `device`.
    """

    @property
    def name(self) -> str:
        """What computes, for identity and results: "torch", or another with its version."""

    @property
    def device(self) -> torch.device:
        """Where images, boxes and logits lie."""

    @property
    def dtype(self) -> str:
        """Number format: "fp32", "bf16", "fp16" or "int8"."""

    @property
    def compiled(self) -> bool:
        """Whether it is compiled for each size, so that all passes should have the same."""

    @property
    def logit_px(self) -> int | None:
        """Side of a logit in px of the windows, where `logits` can leave out a margin; None: it cannot."""

    @property
    def batch_matters(self) -> bool:
        """Whether labels may depend on how many slices go in one pass."""

    def encode_context(self, image: Tensor, windows: ContextWindows | None) -> EncodedContext:
        """Prepare the context (1, 3, side, side) of a patch; with `windows`, each slice sees its own of it.

        Raises:
            InputError: The network takes no context, or none of this size.
        """

    def logits(
        self, windows: Tensor, context: EncodedContext | None, boxes: Tensor, margin: int = 0
    ) -> Tensor:
        """Return float32 logits (N, K, h, w) of windows (N, 3, side, side), of any h and w.

        They cover the windows edge to edge, but for `margin` logits left out at each; above 0 only where
        `logit_px` is known. `boxes` (N, 4) are the windows as fractions of the context's
        sides, `context` what `encode_context` returned, or its part for these windows.

        Raises:
            InputError: The network does not take windows of this size.
        """
