"""Read the pixels of a patch: its region, and the field of contexts where each slice has its own."""

from dataclasses import dataclass
from typing import Any

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
    rows = cell_means(overview, top, width, side_px)
    columns = cell_means(rows.swapaxes(0, 1), left, width, side_px)
    return np.rint(columns).astype(np.uint8).swapaxes(0, 1)


def cell_means(pixels: NDArray[Any], start: float, width: float, cells: int) -> NDArray[np.float32]:
    """Average the lines of (length, ...) over `cells` equal parts of [start, start + width): (cells, ...).

    Line k covers [k, k + 1) and counts in each part as far as it lies in it. Pillow's box filter counts a
    pixel wholly or not at all: at two or three pixels a cell that is off by several grey values. A product
    with the matrix of the shares takes several times as long, in threads of BLAS that get in the network's
    way.
    """
    edges = start + np.linspace(0, width, cells + 1)
    first = np.floor(edges[:-1]).astype(np.intp)
    means = np.zeros((cells, *pixels.shape[1:]), np.float32)
    for line in first + np.arange(int(width / cells) + 2)[:, None]:
        covered = np.minimum(edges[1:], line + 1) - np.maximum(edges[:-1], line)
        shares = (np.clip(covered, 0, None) * (cells / width)).astype(np.float32)
        means += pixels[np.minimum(line, len(pixels) - 1)] * shares.reshape(-1, *[1] * (pixels.ndim - 1))
    return means
