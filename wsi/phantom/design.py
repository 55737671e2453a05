"""Define the interface of a phantom's versions, and paint stamps onto blocks for all of them."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..geometry import Rect
from .fields import Floats, Points
from .stain import Densities, Stain
from .stamps import Stamp, blit
from .territories import Territories

Pixels = NDArray[np.uint8]


class Design(Protocol):
    """Version of the phantom: how the slide of a seed looks. Threads may share one."""

    territories: Territories
    stain: Stain
    jpeg_quality: int

    def cover(self, x: Floats, y: Floats) -> NDArray[np.uint8] | bool | None:
        """Return the upper bound of density at every (y, x): (len(y), len(x)) uint8.

        True where all is tissue, None where all is glass. Tissue begins at 128.
        """

    def block(self, block: Rect) -> Pixels | None:
        """Render a block of l0 px, sides up to MAX_BLOCK_PX: (H, W, 3) RGB; None where it is plain glass."""

    def is_blank(self, region_l0: Rect) -> bool:
        """Return whether the region is surely plain glass; cheap."""

    def landmarks(self, region_l0: Rect) -> tuple[Points, NDArray[np.uint8]]:
        """Return every landmark that may touch the region: centres in l0 px, and the `Territory` of each."""


def paint(canvas: Densities, block: Rect, stamps: tuple[Stamp, ...], points: Points) -> None:
    """Put a stamp at every point, chosen by its first chance; `canvas` holds the densities of `block`."""
    chosen = (points.chance[0] * len(stamps)).astype(np.int64)
    columns = np.rint(points.x).astype(np.int64) - block.x
    rows = np.rint(points.y).astype(np.int64) - block.y
    for which, x, y in zip(chosen.tolist(), columns.tolist(), rows.tolist(), strict=True):
        blit(canvas, stamps[which], x, y)


def cut(canvas: Densities, block: Rect, slide: Rect) -> None:
    """Clear, in place, what lies beyond the slide."""
    on_slide = block.intersect(slide)
    if on_slide != block:
        canvas[:, : on_slide.x - block.x] = 0
        canvas[: on_slide.y - block.y] = 0
        canvas[:, on_slide.right - block.x :] = 0
        canvas[on_slide.bottom - block.y :] = 0


def ranges(region: Rect, reach: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the ranges of x and of y of a region grown by `reach`."""
    return (region.x - reach, region.right + reach), (region.y - reach, region.bottom + reach)


def axes(region: Rect, downsample: int = 1) -> tuple[Floats, Floats]:
    """Return the l0 coordinates of the pixel centres along both sides of a region."""
    x = (np.arange(region.x, region.right, dtype=np.float64) + 0.5) * downsample
    y = (np.arange(region.y, region.bottom, dtype=np.float64) + 0.5) * downsample
    return x, y
