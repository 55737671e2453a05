"""Store the finished patches of a job, one small tiled TIFF each, so that it can resume and be watched."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from ..atomic import atomic_file
from ..errors import LabelStoreError
from ..geometry import Rect
from ..grid import TILE_PX, Grid
from .tile_codec import decode_tile, encode_tile, encode_uniform

_NAME = re.compile(r"patch-(\d{6,})\.tif")
_MAX_KNOWN = 4096
_DEFLATE = 8  # TIFF Compression
_BROKEN_FILE_ERRORS = (
    tifffile.TiffFileError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
)


@dataclass(frozen=True, slots=True)
class _TileTable:
    """Byte ranges of the tiles of one patch file, row-major."""

    offsets: tuple[int, ...]
    lengths: tuple[int, ...]


class LabelStore:
    """Label map of one job as far as it is done; a TileSource for `wsi.writing.pyramid`.

    `directory` is made by the first write, its parent by the caller. Several processes may write, also the
    same patch (the bytes are identical), while others read. Thread-safe. Memory: tile tables of at most 4096
    patches.
    """

    def __init__(self, directory: Path, grid: Grid) -> None:
        self._directory = directory
        self._grid = grid
        self._known: dict[int, _TileTable] = {}

    def write(self, patch_index: int, labels: NDArray[np.uint8]) -> None:
        """Store the core of a patch, (patch_px, patch_px) uint8, whole or not at all.

        What sticks out of the label map is stored as 0.

        Raises:
            ValueError: `labels` has another shape or type.
            LabelStoreError: the disk is full, or the job's folder is gone.
        """
        grid = self._grid
        if labels.shape != (grid.patch_px, grid.patch_px) or labels.dtype != np.uint8:
            raise ValueError(f"a patch is {grid.patch_px} px square uint8, got {labels.shape} {labels.dtype}")
        try:
            # Not its parents: a job's folder that was deleted meanwhile must not come back.
            self._directory.mkdir(exist_ok=True)
            with atomic_file(self._path(patch_index)) as temporary:
                tifffile.imwrite(
                    temporary,
                    self._encoded(patch_index, labels),
                    shape=labels.shape,
                    dtype=np.uint8,
                    tile=(TILE_PX, TILE_PX),
                    compression="adobe_deflate",
                    photometric="minisblack",
                    byteorder="<",
                    software=False,
                    metadata=None,
                )
        except FileNotFoundError as error:
            raise LabelStoreError(
                f"Patch {patch_index} cannot be stored: "
                f"the job's folder {self._directory.parent.name} is gone. Was the job deleted? "
                "Submit it again if it is still wanted."
            ) from error
        except OSError as error:
            raise LabelStoreError(
                f"Patch {patch_index} cannot be stored: {error}. Is the disk full?"
            ) from error

    def _encoded(self, patch_index: int, labels: NDArray[np.uint8]) -> Iterator[bytes]:
        """Yield the encoded tiles of a patch core, row by row, zero beyond the label map."""
        inside = self._grid.patch_core(patch_index).intersect(Rect.of(self._grid.label_size))
        cropped = np.zeros_like(labels)
        cropped[: inside.height, : inside.width] = labels[: inside.height, : inside.width]
        for y in range(0, self._grid.patch_px, TILE_PX):
            for x in range(0, self._grid.patch_px, TILE_PX):
                yield encode_tile(np.ascontiguousarray(cropped[y : y + TILE_PX, x : x + TILE_PX]))

    def finished(self) -> frozenset[int]:
        """Return the indices of the patches stored whole; truncated or foreign files do not count."""
        if not self._directory.is_dir():
            return frozenset()
        names = [_NAME.fullmatch(file.name) for file in self._directory.iterdir()]
        indices = [int(name[1]) for name in names if name]
        count = self._grid.patch_columns * self._grid.patch_rows
        return frozenset(index for index in indices if index < count and self._table(index) is not None)

    def tile(self, column: int, row: int) -> NDArray[np.uint8] | None:
        """Read a tile of the label map: (512, 512) uint8; None where nothing is stored or all is 0.

        Raises:
            LabelStoreError: a stored patch cannot be read.
        """
        encoded = self.encoded_tile(column, row)
        try:
            return None if encoded is None else decode_tile(encoded)
        except ValueError as error:
            raise self._broken(column, row) from error

    def encoded_tile(self, column: int, row: int) -> bytes | None:
        """Read a tile of the label map as the stored deflate bytes; None where nothing is stored or all is 0.

        Raises:
            LabelStoreError: a stored patch cannot be read.
        """
        side = self._grid.slices_per_side
        if not (0 <= column < self._grid.tile_columns and 0 <= row < self._grid.tile_rows):
            return None
        (patch_column, x), (patch_row, y) = divmod(column, side), divmod(row, side)
        patch_index = patch_row * self._grid.patch_columns + patch_column
        table = self._table(patch_index)
        if table is None:
            return None
        index = y * side + x
        try:
            with self._path(patch_index).open("rb") as file:
                file.seek(table.offsets[index])
                encoded = file.read(table.lengths[index])
        except OSError as error:
            raise self._broken(column, row) from error
        return None if encoded == encode_uniform(0) else encoded

    def _broken(self, column: int, row: int) -> LabelStoreError:
        return LabelStoreError(
            f"Tile ({column}, {row}) cannot be read back. Delete the job's patches and run it again."
        )

    def _path(self, patch_index: int) -> Path:
        return self._directory / f"patch-{patch_index:06d}.tif"

    def _table(self, patch_index: int) -> _TileTable | None:
        """Return the tile table of a patch; None when the patch is not (wholly) there.

        Read once for each patch: a stored patch never changes.
        """
        known = self._known.get(patch_index)
        if known is None:
            known = self._read_table(self._path(patch_index))
            if known is not None:
                if len(self._known) >= _MAX_KNOWN:
                    self._known.clear()
                self._known[patch_index] = known
        return known

    def _read_table(self, path: Path) -> _TileTable | None:
        """Read the tile table of a file; None when it is absent, truncated or no patch of this grid."""
        if not path.is_file():
            return None
        try:
            with tifffile.TiffFile(path) as tiff:
                page = tiff.pages[0]
                assert isinstance(page, tifffile.TiffPage)
                table = _TileTable(tuple(page.dataoffsets), tuple(page.databytecounts))
                layout = (page.imagewidth, page.imagelength, page.tilewidth, page.tilelength)
                coding = (page.bitspersample, page.samplesperpixel, int(page.compression), len(table.offsets))
                size = tiff.filehandle.size
        except _BROKEN_FILE_ERRORS:
            return None
        side, tiles = self._grid.patch_px, self._grid.slices_per_side**2
        foreign = layout != (side, side, TILE_PX, TILE_PX) or coding != (8, 1, _DEFLATE, tiles)
        if foreign or min(table.lengths) == 0:
            return None
        ends = (offset + length for offset, length in zip(table.offsets, table.lengths, strict=True))
        return table if max(ends) <= size else None
