"""Base class of all networks, and the context features that they share."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..errors import InputError


@dataclass(frozen=True, slots=True)
class ContextWindows:
    """Windows of one context, one a slice: each slice sees its own instead of the whole."""

    boxes: Tensor
    """(N, 4) float32: left, top, right, bottom as fractions of the context's sides."""
    side_px: int
    """Side of a window at the context's scale, network px, multiple of 32."""


@dataclass(frozen=True, slots=True)
class ContextFeatures:
    """Encoded contexts, computed once a patch and shared by its slices.

    `coarse` (P, 2 * width, h, w) is the stride-32 map of the first refine block. The three finer blocks take,
    coarse to fine, (P, width) vectors `pooled`, or `maps` (P, width, h, w) of whole contexts. P is the number
    of contexts, or that of slices where each has a window of its own; then the maps are still those of the
    one context, and `windows` (N, 4) float32 are the places in them, as in ContextWindows. `aligned`, of
    "aligned" networks only, holds float32 maps of all four scales, fine to coarse, of the whole contexts,
    which are cropped at each slice's box.
    """

    coarse: Tensor
    pooled: tuple[Tensor, ...] = ()
    maps: tuple[Tensor, ...] = ()
    windows: Tensor | None = None
    aligned: tuple[Tensor, ...] = ()

    def part(self, start: int, stop: int) -> "ContextFeatures":
        """Return the features of slices start..stop, each of which has its own; pad with the last."""
        rows = torch.arange(start, stop, device=self.coarse.device).clamp(max=len(self.coarse) - 1)
        return replace(
            self,
            coarse=self.coarse[rows],
            pooled=tuple(vector[rows] for vector in self.pooled),
            windows=None if self.windows is None else self.windows[rows],
        )

    def of_neighbours(self) -> "ContextFeatures":
        """Return features in which each context is that of the next, the last that of the first."""
        pooled, maps, aligned = (
            tuple(x.roll(-1, 0) for x in own) for own in (self.pooled, self.maps, self.aligned)
        )
        return replace(self, coarse=self.coarse.roll(-1, 0), pooled=pooled, maps=maps, aligned=aligned)

    def repeated(self, times: int) -> "ContextFeatures":
        """Repeat each patch's features `times` times, in patch-major order.

        The maps of all scales are large; those of a single patch are not copied.
        """
        if times == 1:
            return self
        maps, aligned = (
            tuple(x.unsqueeze(1).expand(-1, times, -1, -1, -1).flatten(0, 1) for x in own)
            for own in (self.maps, self.aligned)
        )
        return replace(
            self,
            coarse=self.coarse.repeat_interleave(times, 0),
            pooled=tuple(vector.repeat_interleave(times, 0) for vector in self.pooled),
            maps=maps,
            aligned=aligned,
        )


class SegmentationNetwork(nn.Module, ABC):
    """Base class of networks from slices to logits; `classify` is the last convolution."""

    classify: nn.Conv2d
    logit_px: int | None = None
    """Side of a logit in px of the slice, where `forward` takes `margin`; None: it does not."""

    @abstractmethod
    def forward(
        self,
        slices: Tensor,
        context: Tensor | ContextFeatures | None = None,
        boxes: Tensor | None = None,
    ) -> Tensor:
        """Compute logits (N, K, h, w) of slices (N, 3, H, W), normalised, sides multiples of 32.

        The logits cover the slice edge to edge; h and w depend on the network: up-sample them to the slice. A
        network ignores arguments that its architecture does not use.

        Args:
            slices: (N, 3, H, W).
            context: Contexts of P patches, raw (P, 3, h, w) or encoded. N is a multiple of P, and slice i
                belongs to patch i // (N / P).
            boxes: (N, 4) float32, left, top, right and bottom of each slice as fractions of its context's
                sides; may stick out of 0..1.

        Raises:
            InputError: An input that the network needs is missing, or a shape is not allowed.
        """

    def encode_context(
        self,
        context: Tensor,
        windows: ContextWindows | None = None,  # noqa: ARG002
    ) -> ContextFeatures:
        """Encode contexts (P, 3, h, w), normalised, sides multiples of 32, for use in `forward`.

        With `windows`, of one context (P = 1), the features are those of each slice's window.

        Raises:
            InputError: The network takes no context.
        """
        raise InputError(
            f"a {type(self).__name__} of this kind sees no context {tuple(context.shape)}; leave it out"
        )


def check_slices(slices: Tensor) -> None:
    """Check that slices are (N, 3, H, W) with sides multiples of 32.

    Raises:
        InputError: They are not.
    """
    if slices.ndim != 4 or slices.shape[1] != 3 or slices.shape[2] % 32 or slices.shape[3] % 32:
        raise InputError(f"slices must be (N, 3, H, W) with sides multiples of 32, not {tuple(slices.shape)}")
