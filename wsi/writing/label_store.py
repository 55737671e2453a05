"""Store the finished patches of a job, one small TIFF pyramid each, so that it can resume and be watched."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..atomic import atomic_file
from ..errors import LabelStoreError
from ..grid import Grid
from .patch_file import BlockRanges, patch_index, patch_inside, patch_path, patch_table, write_patch_file
from .reduction import Reduction, reduce_majority
from .tile_codec import decode_tile, encode_uniform

_MAX_KNOWN = 4096


class LabelStore:
    """Label map of one job as far as it is done; a TileSource for `wsi.writing.pyramid`.

    `reduce` makes the reduced levels of the patches, for maps of something else than classes.

    `directory` is made by the first write, its parent by the caller. Several processes may write, also the
    same patch (the bytes are identical), while others read. Thread-safe. Memory: tile tables of at most 4096
    patches.
    """

    def __init__(self, directory: Path, grid: Grid, reduce: Reduction = reduce_majority) -> None:
        self._directory = directory
        self._grid = grid
        self._reduce = reduce
        self._known: dict[int, BlockRanges] = {}

    def write(self, index: int, labels: NDArray[np.uint8]) -> None:
        """Store the core of a patch, (patch_px, patch_px) uint8, and its reduced levels, whole or not at all.

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
            with atomic_file(patch_path(self._directory, index)) as temporary:
                write_patch_file(temporary, labels, *patch_inside(grid, index), self._reduce)
        except FileNotFoundError as error:
            raise LabelStoreError(
                f"Patch {index} cannot be stored: "
                f"the job's folder {self._directory.parent.name} is gone. Was the job deleted? "
                "Submit it again if it is still wanted."
            ) from error
        except OSError as error:
            raise LabelStoreError(f"Patch {index} cannot be stored: {error}. Is the disk full?") from error

    def finished(self) -> frozenset[int]:
        """Return the indices of the patches stored whole; truncated or foreign files do not count."""
        if not self._directory.is_dir():
            return frozenset()
        indices = [patch_index(file.name) for file in self._directory.iterdir()]
        count = self._grid.patch_columns * self._grid.patch_rows
        return frozenset(
            index
            for index in indices
            if index is not None and index < count and self._tiles(index) is not None
        )

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
        patch = patch_row * self._grid.patch_columns + patch_column
        tiles = self._tiles(patch)
        if tiles is None:
            return None
        number = y * side + x
        try:
            with patch_path(self._directory, patch).open("rb") as file:
                file.seek(int(tiles.offsets[number]))
                encoded = file.read(int(tiles.lengths[number]))
        except OSError as error:
            raise self._broken(column, row) from error
        return None if encoded == encode_uniform(0) else encoded

    def _broken(self, column: int, row: int) -> LabelStoreError:
        return LabelStoreError(
            f"Tile ({column}, {row}) cannot be read back. Delete the job's patches and run it again."
        )

    def _tiles(self, index: int) -> BlockRanges | None:
        """Return where the tiles of a patch lie; None when the patch is not (wholly) there.

        Read once for each patch: a stored patch never changes.
        """
        known = self._known.get(index)
        if known is None:
            try:
                data = patch_path(self._directory, index).read_bytes()
            except OSError:
                return None
            levels = patch_table(data, self._grid.patch_px)
            if levels is None:
                return None
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            known = self._known[index] = levels[0]
        return known
