"""Build a tile pyramid incrementally: each subtree as soon as its labels are there, the rest at the end."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..geometry import Size
from ..grid import TILE_PX, Grid
from .pyramid_walk import Quad, build_pyramid, build_subtree, subtree_level
from .reduction import Reduction
from .tile_codec import decode_tile, encode_tile
from .tile_spool import TileSpool


class TileSource(Protocol):
    """Level-0 tiles of a label map, (512, 512) uint8, 0 beyond the label map."""

    def encoded_tile(self, column: int, row: int) -> bytes | None:
        """Return one tile as the bytes of a deflate TIFF tile; None for a tile of zeros."""


class PyramidBuilder:
    """Builder of all levels of a pyramid into a spool.

    A tile of level k is made as soon as its four tiles of level k - 1 are there. Thread-safe.
    """

    def __init__(
        self, source: TileSource, sizes: tuple[Size, ...], spool: TileSpool, reduce: Reduction
    ) -> None:
        self._source = source
        self._reduce = reduce
        self._sizes = sizes
        self._tiles = [size.tiles(TILE_PX) for size in sizes]
        self._spool = spool
        self._lock = threading.Lock()
        self._counts = np.zeros(256, np.int64)
        self._built: set[tuple[int, int]] = set()

    @property
    def subtree_tiles(self) -> int:
        """Tiles of level 0 along the side of a subtree, which `build` makes."""
        return 1 << subtree_level(self._tiles)

    def build(self, column: int, row: int) -> NDArray[np.uint8] | None:
        """Build a subtree whose level 0 is complete; return its coarsest tile, None if it is blank."""
        tile = build_subtree(self._tiles, (column, row), self._finest, self._coarser)
        with self._lock:
            self._built.add((column, row))
        return tile

    def finish(self, threads: int, progress: Callable[[float], None]) -> None:
        """Make all tiles that are not there, in threads."""
        build_pyramid(self._tiles, self._subtree, self._coarser, threads=threads, progress=progress)

    def class_counts(self) -> tuple[int, ...]:
        """Return 256 numbers: the level-0 pixels of each value."""
        counts = self._counts.copy()
        counts[0] = self._sizes[0].pixels - counts[1:].sum()
        return tuple(int(count) for count in counts)

    def _subtree(self, column: int, row: int) -> NDArray[np.uint8] | None:
        """Return the coarsest tile of a subtree: from the spool where it was built before."""
        with self._lock:
            built = (column, row) in self._built
        if not built:
            return self.build(column, row)
        encoded = self._spool.added(subtree_level(self._tiles), column, row)
        return None if encoded is None else decode_tile(encoded)

    def _coarser(
        self, level: int, column: int, row: int, quad: Quad[NDArray[np.uint8]]
    ) -> NDArray[np.uint8] | None:
        """Make one tile from its four; None when it is all zeros."""
        pixels = np.zeros((2 * TILE_PX, 2 * TILE_PX), np.uint8)
        for index, child in enumerate(quad):
            dy, dx = divmod(index, 2)
            if child is not None:
                pixels[dy * TILE_PX : (dy + 1) * TILE_PX, dx * TILE_PX : (dx + 1) * TILE_PX] = child
        tile = self._cropped(level, column, row, self._reduce(pixels))
        if not tile.any():
            return None
        self._spool.add(level, column, row, encode_tile(tile))
        return tile

    def _finest(self, column: int, row: int) -> NDArray[np.uint8] | None:
        encoded = self._source.encoded_tile(column, row)
        if encoded is None:
            return None
        decoded = decode_tile(encoded)
        tile = self._cropped(0, column, row, decoded)
        if not tile.any():
            return None
        self._spool.add(0, column, row, encoded if tile is decoded else encode_tile(tile))
        histogram = Image.fromarray(tile).histogram()  # faster than numpy's bincount
        with self._lock:
            self._counts += histogram
        return tile

    def _cropped(self, level: int, column: int, row: int, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the tile with zeros beyond the level's edge; the same array when that changes nothing."""
        width = self._sizes[level].width - column * TILE_PX
        height = self._sizes[level].height - row * TILE_PX
        if not (tile[:, width:].any() or tile[height:].any()):
            return tile
        cropped = np.zeros_like(tile)
        cropped[:height, :width] = tile[:height, :width]
        return cropped


class IncrementalBuild:
    """Incremental build of a pyramid: each subtree when the last patch on it is stored. Thread-safe."""

    def __init__(self, builder: PyramidBuilder, grid: Grid, patches: Iterable[int]) -> None:
        """Wait for `patches`, by index; what lies on none of them is left to `PyramidBuilder.finish`."""
        self._builder = builder
        self._grid = grid
        self._lock = threading.Lock()
        self._waits_for: defaultdict[tuple[int, int], int] = defaultdict(int)
        for patch in patches:
            for subtree in self._subtrees_of(patch):
                self._waits_for[subtree] += 1

    def stored(self, patch: int) -> None:
        """Build the subtrees that wait for no other patch."""
        ready = []
        with self._lock:
            for subtree in self._subtrees_of(patch):
                self._waits_for[subtree] -= 1
                if not self._waits_for[subtree]:
                    ready.append(subtree)
        for subtree in ready:
            self._builder.build(*subtree)

    def _subtrees_of(self, patch: int) -> list[tuple[int, int]]:
        """Return the (column, row) of the subtrees that a patch lies on."""
        grid, side = self._grid, self._builder.subtree_tiles
        row, column = divmod(patch, grid.patch_columns)
        columns, rows = (
            range(place * grid.slices_per_side, min((place + 1) * grid.slices_per_side, tiles))
            for place, tiles in ((column, grid.tile_columns), (row, grid.tile_rows))
        )
        return sorted({(x // side, y // side) for x in columns for y in rows})
