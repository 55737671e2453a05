"""Stand in for a network at next to no cost, for measuring everything around networks."""

import torch
import torch.nn.functional as F
from torch import Tensor

from model.card import ModelCard
from model.network.base import ContextFeatures, ContextWindows, SegmentationNetwork

_SPACING = 8
"""Every 8th pixel of both axes is looked at."""


class StandInNetwork(SegmentationNetwork):
    """Network that makes logits of the right shape from the brightness of every 64th pixel.

    They cut the slide into spots of all classes about 32 px wide, so that storing and reducing labels costs
    what it does with real ones, or rather more.
    """

    def __init__(self, card: ModelCard) -> None:
        super().__init__()
        steps = torch.linspace(-1.5, 1.5, len(card.classes)).view(1, -1, 1, 1)
        self.register_buffer("centres", steps)

    def encode_context(self, context: Tensor, windows: ContextWindows | None = None) -> ContextFeatures:
        """Return features of the right number of dimensions that hold nothing."""
        empty = context.new_zeros(len(context if windows is None else windows.boxes), 1)
        return ContextFeatures(empty[..., None, None])

    def forward(
        self,
        slices: Tensor,
        context: Tensor | ContextFeatures | None = None,  # noqa: ARG002  (not looked at)
        boxes: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        """Return logits at a quarter of the slice, as DaRefineNet does (see SegmentationNetwork)."""
        bright = slices[:, :1, ::_SPACING, ::_SPACING]
        coarse = F.avg_pool2d(bright, 32 // _SPACING)
        size = (slices.shape[2] // 4, slices.shape[3] // 4)
        return -(F.interpolate(coarse, size=size) - self.get_buffer("centres")).square()
