"""Read the pixels of a patch: its region, and the field of contexts where each slice has its own."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import Rect, ceil_div
from ..patch_view import PatchView
from .slide import Slide


@dataclass(frozen=True, slots=True, eq=False)
class PatchPixels:
    """The pixels of one patch."""

    region: NDArray[np.uint8]
    """(H, W, 3) RGB of the view's region, label px."""
    context: NDArray[np.uint8] | None
    """(context_network_px, context_network_px, 3) RGB of the view's context; None: it is cut from the
    region."""


def read_patch(slide: Slide, view: PatchView, downsample: int) -> PatchPixels:
    """Read a patch; `downsample` is the l0 px along the side of a label px. Outside the slide is white.

    Raises:
        SlideUnreadableError: pixels cannot be decoded.
    """
    region = slide.read_region(view.region.scaled(downsample), downsample)
    if not view.context_windows:
        return PatchPixels(region, None)
    return PatchPixels(region, read_reduced(slide, view.context, downsample, view.context_network_px))


def read_reduced(slide: Slide, region: Rect, downsample: int, side_px: int) -> NDArray[np.uint8]:
    """Read a square of label px reduced to (side_px, side_px, 3) RGB, area-averaged.

    It is read from the slide's own reduced levels, at two to four times the size wanted: what is read at
    label px for slices would be decoded for nothing else. Both agree to about a grey value.

    Raises:
        SlideUnreadableError: pixels cannot be decoded.
    """
    reduce = 1 << max(0, int(region.width / side_px / 2).bit_length() - 1)
    x, y = region.x // reduce, region.y // reduce
    around = Rect(x, y, ceil_div(region.right, reduce) - x, ceil_div(region.bottom, reduce) - y)
    n = downsample * reduce
    overview = slide.read_region(around.scaled(n), n)
    left, top, width = region.x / reduce - x, region.y / reduce - y, region.width / reduce
    down, across = (
        _shares(start, width, side_px, length)
        for start, length in ((top, len(overview)), (left, overview.shape[1]))
    )
    rows = down @ overview.reshape(len(overview), -1).astype(np.float32)
    columns = across @ rows.reshape(side_px, -1, 3).swapaxes(0, 1).reshape(overview.shape[1], -1)
    reduced: NDArray[np.uint8] = np.rint(columns).astype(np.uint8).reshape(side_px, side_px, 3)
    return reduced.swapaxes(0, 1)


def _shares(start: float, width: float, cells: int, length: int) -> NDArray[np.float32]:
    """Return averaging weights (cells, length): the share of each cell that each pixel covers.

    The cells are `cells` equal parts of [start, start + width); the pixels are [0, 1), ..., up to `length`.
    Pillow's box filter counts a pixel wholly or not at all: at two or three pixels a cell that is off by
    several grey values.
    """
    edges = start + np.linspace(0, width, cells + 1)[:, None]
    px = np.arange(length)
    covered = np.minimum(edges[1:], px + 1) - np.maximum(edges[:-1], px)
    shares: NDArray[np.float32] = (np.clip(covered, 0, None) * (cells / width)).astype(np.float32)
    return shares
