"""Spool encoded tiles to disk on their way into a TIFF: made in one order, written in another."""

import threading
from collections.abc import Iterator
from typing import IO

import numpy as np

from ..geometry import Size
from ..grid import TILE_PX


class TileSpool:
    """Encoded tiles of all levels of a pyramid, in a file in the order they were added.

    A tile never added is empty. Thread-safe. Memory: 16 bytes a tile, its offset and length.
    """

    def __init__(self, file: IO[bytes], sizes: tuple[Size, ...], empty: bytes) -> None:
        """Begin a spool with the bytes of an `empty` tile.

        `file` is empty and binary, open for reading and writing.
        """
        self.sizes = sizes
        self._file = file
        self._moving = threading.Lock()  # of the file's position
        self.nbytes = file.write(empty)
        tiles = [size.tiles(TILE_PX) for size in sizes]
        self._offsets = [np.zeros((t.height, t.width), np.int64) for t in tiles]
        self._lengths = [np.full((t.height, t.width), len(empty), np.int64) for t in tiles]

    def add(self, level: int, column: int, row: int, encoded: bytes) -> None:
        """Append one tile to the file."""
        with self._moving:
            self._file.seek(self.nbytes)
            self._offsets[level][row, column] = self.nbytes
            self._lengths[level][row, column] = len(encoded)
            self.nbytes += self._file.write(encoded)

    def encoded(self, level: int, column: int, row: int) -> bytes:
        """Read the bytes of one tile."""
        with self._moving:
            self._file.seek(int(self._offsets[level][row, column]))
            return self._file.read(int(self._lengths[level][row, column]))

    def added(self, level: int, column: int, row: int) -> bytes | None:
        """Read the bytes of a tile that was added; None of any other, within the level or not."""
        rows, columns = self._offsets[level].shape
        held = column < columns and row < rows and self._offsets[level][row, column] > 0
        return self.encoded(level, column, row) if held else None

    def level(self, level: int) -> Iterator[bytes]:
        """Return the tiles of a level in the order of a TIFF: row by row."""
        rows, columns = self._offsets[level].shape
        return (self.encoded(level, column, row) for row in range(rows) for column in range(columns))
