"""Number the levels and tiles that viewers ask for: 512 px tiles, level 0 full size, each next one half."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..geometry import Rect, Size, ceil_div
from ..grid import TILE_PX
from ..writing.reduction import Reduction, reduce_majority

LabelTile = NDArray[np.uint8]


def level_size(size: Size, level: int) -> Size:
    """Return the size in px of a level of an image of `size` px, rounded up."""
    return Size(ceil_div(size.width, 1 << level), ceil_div(size.height, 1 << level))


def level_count(size: Size) -> int:
    """Return how many levels there are down to the first that fits in one tile."""
    longest = ceil_div(max(size.width, size.height), TILE_PX)
    return 1 + (longest - 1).bit_length()


def has_tile(size: Size, level: int, column: int, row: int) -> bool:
    """Return whether an image of `size` px has this tile."""
    if not 0 <= level < level_count(size):
        return False
    tiles = level_size(size, level).tiles(TILE_PX)
    return 0 <= column < tiles.width and 0 <= row < tiles.height


def tile_rect(column: int, row: int) -> Rect:
    """Return what a tile covers, in px of its level."""
    return Rect(column * TILE_PX, row * TILE_PX, TILE_PX, TILE_PX)


def reduced_tile(
    finer: Callable[[int, int, int], LabelTile | None],
    level: int,
    column: int,
    row: int,
    reduce: Reduction = reduce_majority,
) -> LabelTile | None:
    """Make a label tile from the four of the next finer level; None when they are all zeros.

    For the levels that the stored pyramid lacks: its sizes are rounded down, so it may fit into one tile a
    level earlier, and it ends where its shorter side is 1 px.
    """
    pixels = np.zeros((2 * TILE_PX, 2 * TILE_PX), np.uint8)
    blank = True
    for dy in (0, 1):
        for dx in (0, 1):
            part = finer(level - 1, 2 * column + dx, 2 * row + dy)
            if part is not None:
                blank = False
                pixels[dy * TILE_PX : (dy + 1) * TILE_PX, dx * TILE_PX : (dx + 1) * TILE_PX] = part
    return None if blank else reduce(pixels)
