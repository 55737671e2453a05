"""U-Net (Ronneberger et al. 2015), the paper's baseline without a second input."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import ContextFeatures, SegmentationNetwork, check_slices


class ConvPair(nn.Module):
    """Two 3x3 convs, each followed by batch norm and ReLU. Height and width are kept."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H, W)."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(x)), inplace=True)


class UNet(SegmentationNetwork):
    """U-Net with five scales of widths w, 2w, 4w, 8w, 16w (published: w = 64).

    Scales are joined by 2x2 max-pools on the way down and 2x2 transposed convs on the way up, where each
    scale's features are concatenated to the up-sampled ones. Two departures from the publication, both usual
    today: convolutions are padded, so that logits cover the slice without a cropped border, and followed by
    batch norm. Dropout sits at the bottom, as published.
    """

    def __init__(self, classes: int, *, width: int = 64, dropout: float = 0.5) -> None:
        super().__init__()
        widths = [width * 2**k for k in range(5)]
        self.down = nn.ModuleList(ConvPair(a, b) for a, b in zip([3, *widths], widths, strict=False))
        self.dropout = nn.Dropout(dropout)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in widths[:4])
        self.merge = nn.ModuleList(ConvPair(2 * w, w) for w in widths[:4])
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(
        self,
        slices: Tensor,
        context: Tensor | ContextFeatures | None = None,  # noqa: ARG002  (the signature of every network)
        boxes: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        """Compute logits (N, K, H, W) of slices (N, 3, H, W), normalised; `context` and `boxes` are ignored.

        Raises:
            InputError: The slices have another shape, or sides that are no multiples of 32.
        """
        check_slices(slices)
        x = self.down[0](slices)
        skips = []
        for pair in self.down[1:]:
            skips.append(x)
            x = pair(F.max_pool2d(x, 2))
        x = self.dropout(x)
        for k in (3, 2, 1, 0):
            x = self.merge[k](torch.cat([skips[k], self.up[k](x)], 1))
        logits: Tensor = self.classify(x)
        return logits
