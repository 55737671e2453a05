"""Serve label tiles of a job that runs, at every level, from the patches stored so far.

Finer levels are put together from the patches' files at each call. From level 5 on a tile lies over dozens to
thousands of patches, so these levels are held in memory, and each new patch is pasted into them once.
"""

import threading
import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ..errors import LabelStoreError
from ..geometry import Rect, Size, ceil_div
from ..grid import TILE_PX, Grid
from ..writing.patch_file import PATCH_LEVELS, BlockRanges, block_px, patch_path, patch_table
from ..writing.pyramid import level_sizes
from ..writing.reduction import Reduction, reduce_majority
from ..writing.tile_codec import decode_tile, encode_uniform
from .levels import LabelTile, has_tile, reduced_tile, tile_rect
from .patch_folder import PatchFolder

_HELD = PATCH_LEVELS - 1
"""The first level held in memory: a thousandth of level 0, 10 MB for 100 000 px square."""

_FAST_DEFLATE = 1


class GrowingLabels:
    """Tiles of the label map of a job as far as it is done. Thread-safe.

    Each pixel under which every patch is stored is that of the finished pyramid. Down to level 9 a pixel has
    one patch under it; above, in maps of more than 262 144 px, pixels with a patch still to come are made of
    those that are there. Memory: a byte for every 768 label px that hold labels, and 2 kB a patch.
    """

    def __init__(self, folder: PatchFolder, grid: Grid, reduce: Reduction = reduce_majority) -> None:
        self.folder = folder
        self._reduce = reduce
        self.size = grid.label_size
        self._grid = grid
        self._sizes = level_sizes(grid.label_size)
        self._tables: dict[int, tuple[BlockRanges, ...]] = {}
        self._pasting = threading.Lock()
        self._pasted: set[int] = set()
        self._held: dict[int, NDArray[np.uint8]] = {}

    def encoded(self, level: int, column: int, row: int) -> bytes | None:
        """Return a tile, 512 x 512 px of a byte, as zlib bytes; None where all is 0 or there is no such tile.

        Raises:
            LabelStoreError: a stored patch cannot be read, or is gone.
        """
        if not has_tile(self.size, level, column, row):
            return None
        if level == 0:
            return self._as_stored(column, row)
        tile = self._tile(level, column, row)
        return None if tile is None or not tile.any() else zlib.compress(tile.tobytes(), _FAST_DEFLATE)

    def patches_under(self, level: int, column: int, row: int) -> Iterable[int]:
        """Return the indices of the stored patches that a tile shows: the tile changes when they do."""
        return self._stored_in(tile_rect(column, row).scaled(1 << level))

    def _stored_in(self, rect: Rect) -> list[int]:
        """Return the stored patches that meet a rectangle of label px."""
        grid, side, stored = self._grid, self._grid.patch_px, self.folder.stored()
        return [
            index
            for row in range(rect.y // side, min(grid.patch_rows, ceil_div(rect.bottom, side)))
            for column in range(rect.x // side, min(grid.patch_columns, ceil_div(rect.right, side)))
            if (index := row * grid.patch_columns + column) in stored
        ]

    def _as_stored(self, column: int, row: int) -> bytes | None:
        found = self._stored_in(tile_rect(column, row))
        if not found:
            return None
        side = self._grid.slices_per_side
        number = (row % side) * side + column % side
        (encoded,) = self._blocks(found[0], 0, [number])
        return None if encoded == encode_uniform(0) else encoded

    def _tile(self, level: int, column: int, row: int) -> LabelTile | None:
        """Return the pixels of a tile, 0 where nothing is stored; None where no patch is."""
        if not self.folder.stored():
            return None
        if level >= len(self._sizes):
            return reduced_tile(self._tile, level, column, row, self._reduce)
        rect = tile_rect(column, row)
        tile = np.zeros((TILE_PX, TILE_PX), np.uint8)
        if level >= _HELD:
            held = self._up_to_date()[level]
            part = held[rect.y : rect.bottom, rect.x : rect.right]
            tile[: part.shape[0], : part.shape[1]] = part
            return tile
        for index in self._stored_in(rect.scaled(1 << level)):
            self._paste(index, level, tile, rect)
        return tile

    def _paste(self, index: int, level: int, target: NDArray[np.uint8], frame: Rect) -> None:
        """Copy what a patch has of a level into `target`, which covers `frame` px of that level."""
        core = self._grid.patch_core(index)
        side = block_px(level, core.width)
        per_row = (core.width >> level) // side
        origin = (core.x >> level, core.y >> level)
        rects = [
            Rect(origin[0] + x * side, origin[1] + y * side, side, side)
            for y in range(per_row)
            for x in range(per_row)
        ]
        wanted = [number for number, rect in enumerate(rects) if not rect.intersect(frame).is_empty]
        for number, encoded in zip(wanted, self._blocks(index, level, wanted), strict=True):
            block, rect = self._decoded(index, encoded, side), rects[number]
            part = rect.intersect(frame)
            source = block[part.y - rect.y :, part.x - rect.x :][: part.height, : part.width]
            to = part.moved(-frame.x, -frame.y)
            target[to.y : to.bottom, to.x : to.right] = source

    def _blocks(self, index: int, level: int, numbers: list[int]) -> list[bytes]:
        """Read blocks of a level of a patch as stored.

        Raises:
            LabelStoreError: the patch cannot be read, or is gone.
        """
        try:
            with patch_path(self.folder.path, index).open("rb") as file:
                table = self._tables.get(index)
                if table is None:
                    table = patch_table(file.read(), self._grid.patch_px)
                    if table is None:
                        raise LabelStoreError(f"Patch {index} is damaged. Run the job again.")
                    self._tables[index] = table
                blocks = []
                for number in numbers:
                    file.seek(int(table[level].offsets[number]))
                    blocks.append(file.read(int(table[level].lengths[number])))
        except OSError as error:
            raise LabelStoreError(f"Patch {index} cannot be read: {error}.") from error
        return blocks

    def _decoded(self, index: int, encoded: bytes, side: int) -> NDArray[np.uint8]:
        try:
            return decode_tile(encoded, side)
        except ValueError as error:
            raise LabelStoreError(f"Patch {index} is damaged: {error}. Run the job again.") from error

    def _up_to_date(self) -> dict[int, NDArray[np.uint8]]:
        """Return the levels held in memory, after the patches that are new were pasted into them."""
        with self._pasting:
            if not self._held:
                sizes = enumerate(self._sizes)
                self._held = {level: _blank(size) for level, size in sizes if level >= _HELD}
            # A patch is marked as pasted only when it is: one that vanishes while it is read raises.
            for index in [index for index in self.folder.stored() if index not in self._pasted]:
                self._hold(index)
                self._pasted.add(index)
            return self._held

    def _hold(self, index: int) -> None:
        """Paste a patch into every level held."""
        core = self._grid.patch_core(index)
        finest = self._held[_HELD]
        self._paste(index, _HELD, finest, Rect.of(self._sizes[_HELD]))
        left, upper, right, lower = (edge >> _HELD for edge in (core.x, core.y, core.right, core.bottom))
        for level in range(_HELD + 1, len(self._sizes)):
            size, finer = self._sizes[level], self._held[level - 1]
            left, upper = left // 2, upper // 2
            right, lower = min(ceil_div(right, 2), size.width), min(ceil_div(lower, 2), size.height)
            if right <= left or lower <= upper:
                return
            quad = np.ascontiguousarray(finer[2 * upper : 2 * lower, 2 * left : 2 * right])
            self._held[level][upper:lower, left:right] = self._reduce(quad)


def _blank(size: Size) -> NDArray[np.uint8]:
    return np.zeros((size.height, size.width), np.uint8)
