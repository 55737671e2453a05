"""How both pyramid writers go over their tiles: depth first, so that memory does not grow with the slide."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from .geometry import Size

T = TypeVar("T")
Quad = tuple[T | None, T | None, T | None, T | None]
"""Upper left, upper right, lower left, lower right; None is blank."""


def build_pyramid(
    tiles: Sequence[Size],
    finest: Callable[[int, int], T | None],
    coarser: Callable[[int, int, int, Quad[T]], T | None],
) -> None:
    """Make every tile of a pyramid whose levels are the halves of one another, rounded down.

    `tiles` are the columns and rows of each level, finest first. `finest(column, row)` makes a tile of level 0 and
    `coarser(level, column, row, quad)` one of a level above from its four; None is a blank tile, and one above four
    blank ones is not made. At most four results a level wait for their parent, because children come in Z-order.
    """

    def build(level: int, column: int, row: int) -> T | None:
        if column << level >= tiles[0].width or row << level >= tiles[0].height:
            return None
        if level == 0:
            return finest(column, row)
        quad = (
            build(level - 1, 2 * column, 2 * row),
            build(level - 1, 2 * column + 1, 2 * row),
            build(level - 1, 2 * column, 2 * row + 1),
            build(level - 1, 2 * column + 1, 2 * row + 1),
        )
        # A level rounded down may lack the tile above its source's last column or row.
        held = column < tiles[level].width and row < tiles[level].height
        return coarser(level, column, row, quad) if held and any(part is not None for part in quad) else None

    top = len(tiles) - 1
    # For the same reason the coarsest level may be one tile short of what covers the finest.
    roots = tiles[0].tiles(2**top)
    for row in range(roots.height):
        for column in range(roots.width):
            build(top, column, row)


def finest_places(tiles: Sequence[Size]) -> list[tuple[int, int]]:
    """(column, row) of the level-0 tiles, in the order in which `build_pyramid` asks for them."""
    places: list[tuple[int, int]] = []

    def note(column: int, row: int) -> None:
        places.append((column, row))

    build_pyramid(tiles, note, lambda _level, _column, _row, _quad: None)
    return places
