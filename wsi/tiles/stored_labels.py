"""Serve label tiles of a finished `labels.tif`: the stored deflate bytes, by an index in memory."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from ..errors import LabelTiffError
from ..geometry import Size
from ..grid import TILE_PX
from ..writing.reduction import Reduction, reduce_majority
from ..writing.tile_codec import decode_tile, encode_tile, encode_uniform
from .levels import LabelTile, has_tile, reduced_tile


@dataclass(frozen=True, slots=True)
class _Level:
    """Byte ranges of the tiles of a level, (rows, columns)."""

    offsets: NDArray[np.uint64]
    lengths: NDArray[np.uint32]


class StoredLabels:
    """Tiles of a label pyramid that `wsi.writing.pyramid` wrote. Thread-safe.

    The file is opened for each tile: a job that was deleted meanwhile is noticed, and nothing is held open.
    Memory: 12 bytes a tile.
    """

    def __init__(self, path: Path, reduce: Reduction = reduce_majority) -> None:
        """Read the index; `reduce` makes the levels that the file lacks.

        Raises:
            LabelTiffError: the file is no label pyramid.
            FileNotFoundError: there is none.
        """
        self.path = path
        self._reduce = reduce
        try:
            with tifffile.TiffFile(path) as tiff:
                pages = [page.aspage() for page in tiff.pages]
                self._levels = tuple(_level(page) for page in pages)
                self.size = Size(pages[0].imagewidth, pages[0].imagelength)
        except (tifffile.TiffFileError, ValueError, LookupError) as error:
            raise LabelTiffError(f"{path.name} is no label pyramid ({error}). Run the job again.") from error

    def encoded(self, level: int, column: int, row: int) -> bytes | None:
        """Return a tile, 512 x 512 px of a byte, as zlib bytes; None where all is 0 or there is no such tile.

        Raises:
            FileNotFoundError: the file was removed.
        """
        if not has_tile(self.size, level, column, row):
            return None
        if level >= len(self._levels):
            tile = reduced_tile(self._tile, level, column, row, self._reduce)
            return None if tile is None else encode_tile(tile)
        table = self._levels[level]
        if column >= table.offsets.shape[1] or row >= table.offsets.shape[0]:
            return None  # less than a whole pixel of the level
        with self.path.open("rb") as file:
            file.seek(int(table.offsets[row, column]))
            encoded = file.read(int(table.lengths[row, column]))
        return None if encoded == encode_uniform(0) else encoded

    def _tile(self, level: int, column: int, row: int) -> LabelTile | None:
        if level >= len(self._levels):
            return reduced_tile(self._tile, level, column, row, self._reduce)
        encoded = self.encoded(level, column, row)
        return None if encoded is None else decode_tile(encoded)


def _level(page: tifffile.TiffPage) -> _Level:
    """Return where the tiles of a page lie.

    Raises:
        ValueError: it has no tiles of 512 px.
    """
    if (page.tilewidth, page.tilelength) != (TILE_PX, TILE_PX):
        raise ValueError("its tiles are not of 512 px")
    tiles = Size(page.imagewidth, page.imagelength).tiles(TILE_PX)
    shape = (tiles.height, tiles.width)
    return _Level(
        np.array(page.dataoffsets, np.uint64).reshape(shape),
        np.array(page.databytecounts, np.uint32).reshape(shape),
    )
