"""Call a network with plain tensors alone, as graphs want it: pixels and context features in, logits out."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..card import Normalisation
from ..network.base import ContextFeatures, SegmentationNetwork


class FlatNetwork(nn.Module):
    """Network for one window, whose normalisation and context features are part of a graph.

    The inputs are those of `flat_inputs`.
    """

    def __init__(
        self, network: SegmentationNetwork, normalisation: Normalisation, like: ContextFeatures | None
    ) -> None:
        """Take a network, its folded batch norms included, and features of the kind that it will get."""
        super().__init__()
        self.network = network
        mean, std = (torch.tensor(own).view(1, 3, 1, 1) for own in (normalisation.mean, normalisation.std))
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", -mean / std)
        self._pooled, self._maps, self._aligned, self._windowed = (
            (0, 0, 0, False)
            if like is None
            else (len(like.pooled), len(like.maps), len(like.aligned), like.windows is not None)
        )

    def forward(self, window: Tensor, *others: Tensor) -> Tensor:
        """Map a window (1, 3, H, W) of 0..255 and the rest of `flat_inputs` to logits (1, K, h, w)."""
        pixels = window * self.get_buffer("scale") + self.get_buffer("shift")
        return self._logits(pixels, others)

    def _logits(self, pixels: Tensor, others: Sequence[Tensor]) -> Tensor:
        logits: Tensor
        if not others:
            logits = self.network(pixels)
            return logits
        rest = iter(others)
        boxes, coarse = next(rest), next(rest)
        pooled = tuple(next(rest) for _ in range(self._pooled))
        maps = tuple(next(rest) for _ in range(self._maps))
        aligned = tuple(next(rest) for _ in range(self._aligned))
        windows = next(rest) if self._windowed else None
        logits = self.network(pixels, ContextFeatures(coarse, pooled, maps, windows, aligned), boxes)
        return logits


def flat_inputs(
    window: Tensor, context: ContextFeatures | None, boxes: Tensor, number: int
) -> Sequence[Tensor]:
    """Return the inputs of a FlatNetwork for window `number` of a pass, in its order.

    Args:
        window: (1, 3, H, W) float32 of 0..255.
        context: Features of one patch, or of the windows of the pass.
        boxes: (N, 4), those of the windows of the pass.
        number: Position of the window in the pass.
    """
    if context is None:
        return [window]
    own = slice(number, number + 1) if len(context.coarse) > 1 else slice(None)
    windows = () if context.windows is None else (context.windows[own],)
    per_window = [context.coarse[own], *(vector[own] for vector in context.pooled)]
    return [window, boxes[number : number + 1], *per_window, *context.maps, *context.aligned, *windows]
