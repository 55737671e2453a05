"""Layers of a refine block (paper section III; RefineNet, Lin et al. 2017).

Feature maps are (N, C, H, W); pooled features are (N, C).
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .onednn import OneDnnConv2d
from .pooling import RADIUS_PX, max_pool


class ResidualConvUnit(nn.Module):
    """Residual unit x + conv(relu(conv(relu(x)))), no batch norm (RefineNet's RCU).

    Its convs are 3x3; `kernel` 1 is that of Light-Weight RefineNet.
    """

    def __init__(self, channels: int, kernel: Literal[1, 3] = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
        self.conv2 = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False)
        self.reach_px = 2 * (kernel // 2)
        """Pixels that the unit sees beyond its own, on each side."""

    def forward(self, features: Tensor, *, valid: bool = False) -> Tensor:
        """Return refined features of the same shape; with `valid`, without `reach_px` at each edge."""
        residual = F.relu_(convolve(self.conv1, F.relu(features), valid=valid))
        kept = without_edges(features, self.reach_px) if valid else features
        return convolve(self.conv2, residual, valid=valid).add_(kept)


def convolve(conv: nn.Conv2d, features: Tensor, *, valid: bool) -> Tensor:
    """Apply a conv to maps (N, C, H, W); with `valid`, leave out the pixels whose values need its padding."""
    if not valid:
        padded: Tensor = conv(features)
        return padded
    if isinstance(conv, OneDnnConv2d):
        return conv(features, padded=False)  # type: ignore[no-any-return]
    return F.conv2d(features, conv.weight, conv.bias)


def without_edges(maps: Tensor, margin: int) -> Tensor:
    """Return maps (N, C, H, W) without `margin` px at each edge, as a view."""
    height, width = maps.shape[2:]
    return maps[:, :, margin : height - margin, margin : width - margin]


class ChainedResidualPooling(nn.Module):
    """Sum of a chain of 5x5 max-pools, each followed by a 1x1 conv (RefineNet's CRP).

    Each stage pools the output of the one before, so that it gathers background from further away.
    """

    def __init__(self, channels: int, stages: int = 4) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 1, bias=False) for _ in range(stages))

    def forward(self, features: Tensor, *, valid_stages: int = 0) -> Tensor:
        """Return relu(features) plus all pooled stages, of the same shape.

        Each of the last `valid_stages` stages leaves out RADIUS_PX at every edge.
        """
        total = F.relu(features)
        path = total
        for stage, conv in enumerate(self.convs):
            valid = stage >= len(self.convs) - valid_stages
            path = conv(max_pool(path, valid=valid))
            total = without_edges(total, RADIUS_PX) if valid else total
            # In place but for the first sum: its left side is the first stage's input.
            total = total.add_(path) if stage else total + path
        return total


class Adaptation(nn.Sequential):
    """1x1 reduction of an encoder scale to the decoder's width, then two residual conv units.

    `light`, as in Light-Weight RefineNet: the reduction alone.
    """

    def __init__(self, in_channels: int, channels: int, *, light: bool = False) -> None:
        units = () if light else (ResidualConvUnit(channels), ResidualConvUnit(channels))
        super().__init__(nn.Conv2d(in_channels, channels, 1, bias=False), *units)


def _apply_per_row(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """Apply `function` to rows (N, C), one at a time in inference on a CPU, so that no result depends on N.

    Matrix products of other sizes add up in another order, and the tail of a vector is computed otherwise
    than its head, so that a slice's logits would depend on its batch in the last digits. The cost is small
    beside the convolutions.
    """
    if torch.is_grad_enabled() or rows.device.type != "cpu":
        return function(rows)
    return torch.stack([function(row) for row in rows.unbind()])


class AttentionFusion(nn.Module):
    """Attention fusion of slice, context and previous block (paper section III-B).

    O_k = W * X_S + O_{k-1}, W = sigmoid(conv(relu(conv(GAP(concat(X_S, X, O_{k-1})))))). The context X enters
    only through its pooled vector: GAP of a concatenation is the concatenation of GAPs. The other fusions
    take X as a map.
    """

    def __init__(self, channels: int, *, has_context: bool) -> None:
        super().__init__()
        self.squeeze = nn.Linear((3 if has_context else 2) * channels, channels)
        self.excite = nn.Linear(channels, channels)

    def forward(self, slices: Tensor, previous: Tensor, context: Tensor | None) -> Tensor:
        """Fuse slice and previous maps (N, C, H, W) with the pooled context (N, C), if any."""
        pooled = [slices.mean((2, 3)), previous.mean((2, 3))]
        if context is not None:
            pooled.insert(1, context)
        weights = _apply_per_row(self._weights, torch.cat(pooled, 1))
        return (slices * weights[:, :, None, None]).add_(previous)

    def _weights(self, pooled: Tensor) -> Tensor:
        return torch.sigmoid(self.excite(F.relu(self.squeeze(pooled))))


class ConcatFusion(nn.Module):
    """Fusion by a 1x1 conv over concat(X_S, X, O_{k-1}), X being the context's map on the slice's grid.

    The context's share of the convolution is `project`: a 1x1 conv and bilinear sampling commute, so it runs
    once a patch, before the map is laid over each slice's grid.
    """

    def __init__(self, channels: int, *, has_context: bool) -> None:
        super().__init__()
        self.maps = nn.Conv2d(2 * channels, channels, 1, bias=False)
        self.project = nn.Conv2d(channels, channels, 1, bias=False) if has_context else nn.Identity()

    def forward(self, slices: Tensor, previous: Tensor, context: Tensor | None) -> Tensor:
        """Fuse slice and previous maps (N, C, H, W) with the projected context (N, C, H, W), if any."""
        fused: Tensor = self.maps(torch.cat([slices, previous], 1))
        return fused if context is None else fused + context


class AddFusion(nn.Module):
    """Fusion by the sum X_S + X + O_{k-1}, X being the context's map on the slice's grid; no parameters."""

    def __init__(self, channels: int, *, has_context: bool) -> None:  # noqa: ARG002  (one signature for all fusions)
        super().__init__()
        self.project = nn.Identity()

    def forward(self, slices: Tensor, previous: Tensor, context: Tensor | None) -> Tensor:
        """Fuse slice and previous maps (N, C, H, W) with the context (N, C, H, W), if any."""
        fused = slices + previous
        return fused if context is None else fused + context


def laid_over(maps: Tensor, windows: Tensor | None, size: Sequence[int]) -> Tensor:
    """Resize context maps (P, C, h, w) to the slices' grid, bilinear: (P, C, *size), or (N, C, *size).

    The latter with `windows` (N, 4), where N slices share the map of one context (P = 1), and each sees its
    window of it (see `crop_at`).
    """
    if windows is None:
        return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
    shared = maps.float().expand(windows.shape[0], -1, -1, -1)
    return crop_at(shared, windows, size).to(maps.dtype)


def crop_at(maps: Tensor, boxes: Tensor, size: Sequence[int]) -> Tensor:
    """Crop each context map (N, C, h, w) at its slice's box, bilinear, on the slice's grid: (N, C, *size).

    `maps` and `boxes` are float32; `boxes` (N, 4) holds left, top, right and bottom as fractions of the map's
    sides. Maps and slices are taken to fill their frames edge to edge, as in all resizing of the decoder.
    Past the edge of a map its last pixels are repeated. The arithmetic stays out of matrix products, which
    autocast would round to half precision: fractions of a pixel count here.
    """
    left, top, right, bottom = boxes.unsqueeze(2).unbind(1)
    across, down = (
        2 * torch.lerp(start, end, (torch.arange(count, device=boxes.device) + 0.5) / count) - 1
        for start, end, count in ((left, right, size[1]), (top, bottom, size[0]))
    )
    grid = torch.stack(
        [across.unsqueeze(1).expand(-1, size[0], -1), down.unsqueeze(2).expand(-1, -1, size[1])], 3
    )
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)


def box_means(maps: Tensor, boxes: Tensor) -> Tensor:
    """Average one map (1, C, h, w) over each box: (N, C), in the map's dtype.

    `boxes` (N, 4) float32 holds left, top, right and bottom as fractions of the map's sides; a pixel that a
    box covers in part counts in part, and boxes are clipped to the map. The sums are taken in float32.
    """
    left, top, right, bottom = boxes.unbind(1)
    _, _, height, width = maps.shape
    columns = _coverage(left * width, right * width, width)
    rows = _coverage(top * height, bottom * height, height)
    across = maps[0].float() @ columns.T  # (C, h, N)
    return (across * rows.T).sum(1).T.to(maps.dtype).contiguous()


def _coverage(start: Tensor, end: Tensor, count: int) -> Tensor:
    """Return (N, count): the share of each of `count` pixels in the mean over start..end (N,), pixels.

    What lies outside the pixels is cut off here and not from the boxes: the exporter to ONNX confuses several
    such cuts of one tensor.
    """
    start, end = start.clamp(0, count), end.clamp(0, count)
    px = torch.arange(count, device=start.device, dtype=start.dtype)
    covered = torch.minimum(end[:, None], px + 1) - torch.maximum(start[:, None], px)
    return covered.clamp(min=0) / (end - start)[:, None]


class CoarseFusion(nn.Module):
    """Fusion of slice and context maps in the first refine block, where there is no O_{k-1}.

    "attention" and "concat": 1x1 conv over the concatenation, back to `channels`; "add": the sum.
    """

    def __init__(self, channels: int, *, concatenate: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, channels, 1, bias=False) if concatenate else None

    def forward(self, slices: Tensor, context: Tensor) -> Tensor:
        """Fuse two maps of equal shape (N, channels, H, W) into one."""
        if self.conv is None:
            return slices + context
        fused: Tensor = self.conv(torch.cat([slices, context], 1))
        return fused


class Refinement(nn.Sequential):
    """Chained residual pooling and three residual units, which follow the fusion in every refine block.

    `light`: the units have 1x1 convs.
    """

    def __init__(self, channels: int, *, light: bool = False) -> None:
        pooling = ChainedResidualPooling(channels)
        units = [ResidualConvUnit(channels, 1 if light else 3) for _ in range(3)]
        super().__init__(pooling, *units)
        self._stages, self._reaches_px = len(pooling.convs), [unit.reach_px for unit in units]

    def forward(self, fused: Tensor, margin: int = 0) -> Tensor:
        """Refine fused maps (N, C, H, W); the result lacks `margin` px at each edge.

        No layer computes pixels there that the result does not need, and the result is what cutting them off
        at the end would leave.
        """
        pooling, *units = self
        left, valid = margin, list[bool]()
        for reach_px in reversed(self._reaches_px):
            valid.append(0 < reach_px <= left)
            left -= reach_px if valid[-1] else 0
        stages = min(self._stages, left // RADIUS_PX)
        left -= stages * RADIUS_PX
        # Only what every layer can do without is cut off before the first one.
        first, last = (left, 0) if stages == self._stages else (0, left)
        output: Tensor = pooling(without_edges(fused, first), valid_stages=stages)
        for unit in units:
            output = unit(output, valid=valid.pop())
        return without_edges(output, last)
