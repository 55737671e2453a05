"""Build a tile pyramid depth first, so that memory does not grow with the slide."""

import contextlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from ..geometry import Size
from ..work_ahead import work_ahead

T = TypeVar("T")
Quad = tuple[T | None, T | None, T | None, T | None]
"""Upper left, upper right, lower left, lower right; None is blank."""

SUBTREE_LEVEL = 2
"""A thread makes all tiles under one tile of this level, a subtree: 4 x 4 tiles of level 0."""


def build_pyramid(
    tiles: Sequence[Size],
    subtree: Callable[[int, int], T | None],
    coarser: Callable[[int, int, int, Quad[T]], T | None],
    *,
    threads: int,
    progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Make every tile of a pyramid whose levels are the halves of one another, rounded down.

    Both callables run in `threads` threads at once. What they and `progress` raise ends the work. Memory: at
    most four results a level, and four subtrees a thread, wait for their parents: subtrees come in Z-order.

    `tiles` are the columns and rows of each level, finest first. `subtree(column, row)` makes the tile of
    `subtree_level` and all below, by `build_subtree` for instance, and returns it; `coarser(level, column,
    row, quad)` makes one of a level above from its four; None is a blank tile, and four blank ones make a
    blank one. `progress` is called with fractions up to 1, in the caller's thread.
    """
    top, bottom = len(tiles) - 1, subtree_level(tiles)
    roots: list[tuple[int, int]] = []

    def list_subtree(column: int, row: int) -> None:
        roots.append((column, row))

    _walk(tiles, top, bottom, list_subtree, lambda _level, _column, _row, _quad: None)
    with contextlib.closing(
        work_ahead(lambda root: subtree(*root), roots, threads=threads, depth=4 * threads)
    ) as results:
        numbered = enumerate(results, start=1)

        def next_subtree(_column: int, _row: int) -> T | None:
            number, (_, tile) = next(numbered)
            progress(number / len(roots))
            return tile

        _walk(tiles, top, bottom, next_subtree, coarser)


def build_subtree(
    tiles: Sequence[Size],
    root: tuple[int, int],
    finest: Callable[[int, int], T | None],
    coarser: Callable[[int, int, int, Quad[T]], T | None],
) -> T | None:
    """Make the tile of `subtree_level` at `root` (column, row), after all below it, and return it.

    `finest(column, row)` makes a tile of level 0; for the rest see `build_pyramid`.
    """
    return _build(tiles, (subtree_level(tiles), *root), 0, finest, coarser)


def subtree_level(tiles: Sequence[Size]) -> int:
    """Return the level of the roots of subtrees: SUBTREE_LEVEL, or the last of a small pyramid."""
    return min(SUBTREE_LEVEL, len(tiles) - 1)


def _walk(
    tiles: Sequence[Size],
    top: int,
    bottom: int,
    finest: Callable[[int, int], T | None],
    coarser: Callable[[int, int, int, Quad[T]], T | None],
) -> None:
    """Make all tiles above level `bottom`; `finest` gives those of `bottom`."""
    # Levels are rounded down, so the coarsest may be one tile short of what covers the finest.
    roots = tiles[0].tiles(2**top)
    for row in range(roots.height):
        for column in range(roots.width):
            _build(tiles, (top, column, row), bottom, finest, coarser)


def _build(
    tiles: Sequence[Size],
    address: tuple[int, int, int],
    bottom: int,
    finest: Callable[[int, int], T | None],
    coarser: Callable[[int, int, int, Quad[T]], T | None],
) -> T | None:
    """Make the tile at `address` (level, column, row), after those below it down to level `bottom`."""
    level, column, row = address
    if column << level >= tiles[0].width or row << level >= tiles[0].height:
        return None
    if level == bottom:
        return finest(column, row)

    def below(dx: int, dy: int) -> T | None:
        return _build(tiles, (level - 1, 2 * column + dx, 2 * row + dy), bottom, finest, coarser)

    quad = (below(0, 0), below(1, 0), below(0, 1), below(1, 1))
    # A level rounded down may lack the tile above its source's last column or row.
    held = column < tiles[level].width and row < tiles[level].height
    return coarser(level, column, row, quad) if held and any(part is not None for part in quad) else None
