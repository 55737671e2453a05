"""Rasterise polygons: a pixel belongs to a polygon if its centre does, by the even-odd rule.

Pillow's ImageDraw follows the same even-odd rule, but cuts vertices to whole pixels and paints every pixel
that an edge touches: a square with corners at 2 and 6 has 25 pixels there, 16 here. So a polygon would grow
by half a pixel all around.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wsi.geometry import Rect

Points = NDArray[np.float64]
"""(V, 2): x and y of each vertex. Pixel (column, row) of the same frame has its centre at (column + 0.5, row
+ 0.5)."""


def polygon_mask(rings: Sequence[Points], rect: Rect) -> NDArray[np.bool_]:
    """Return which pixels of `rect` have their centre inside the polygon: (rect.height, rect.width) bool.

    `rings` are all its parts and their holes, in any order and direction. They and `rect` are in one frame;
    rings are closed by themselves, may cross themselves and may reach far out of the rectangle. Where they
    overlap an even number of times it is outside. A centre on an edge belongs to the polygon to the right of
    the edge or below it, so polygons that share an edge neither overlap nor leave a gap. Each pixel depends
    on its own position alone: rectangles that meet fit together.
    Memory: about 20 bytes a pixel, and 60 for each row that an edge crosses.
    """
    edges = _Edges.crossing(rings, rect)
    index, row = edges.rows()
    column = np.ceil(edges.x_at(index, row) - 0.5).clip(rect.x, rect.right).astype(np.int64)
    # Each crossing toggles everything to its right. What lies right of the rectangle goes to a column that is
    # cut off.
    pixel = (row - rect.y) * (rect.width + 1) + column - rect.x
    toggles = np.bincount(pixel, minlength=rect.height * (rect.width + 1)) & 1
    odd = np.bitwise_xor.accumulate(
        toggles.astype(np.uint8).reshape(rect.height, rect.width + 1), axis=1, dtype=np.uint8
    )
    return odd[:, :-1].astype(np.bool_)


class _Edges:
    """Edges of a polygon that cross row centres of a rectangle, each with its upper end first."""

    def __init__(self, upper: Points, lower: Points, rect: Rect) -> None:
        first, past = (np.ceil(end[:, 1] - 0.5).clip(rect.y, rect.bottom) for end in (upper, lower))
        crossing = first < past
        self._upper, self._lower = upper[crossing], lower[crossing]
        self._first = first[crossing].astype(np.int64)
        self._count = (past - first)[crossing].astype(np.int64)

    @classmethod
    def crossing(cls, rings: Sequence[Points], rect: Rect) -> "_Edges":
        """Find the edges of closed rings that cross row centres of `rect`."""
        polygon = np.concatenate(rings)
        following = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
        # Ends in a fixed order, so that an edge is rounded alike for the polygons on both of its sides.
        downward = (polygon[:, 1] <= following[:, 1])[:, None]
        return cls(np.where(downward, polygon, following), np.where(downward, following, polygon), rect)

    def rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return every crossing: the edge's number, and the row."""
        index = np.repeat(np.arange(len(self._count)), self._count)
        before = np.cumsum(self._count) - self._count
        return index, np.arange(len(index)) - before[index] + self._first[index]

    def x_at(self, index: NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the x at which the numbered edges cross the centres of rows."""
        rise = self._lower - self._upper
        # Multiply before dividing: then a centre on an edge is found to lie there wherever numbers are exact.
        return np.asarray(
            self._upper[index, 0] + (row + 0.5 - self._upper[index, 1]) * rise[index, 0] / rise[index, 1]
        )
