"""Verify a result file before it gets its name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide
import tifffile

from ..errors import PyramidError
from ..geometry import Size
from ..grid import TILE_PX
from .tile_codec import decode_tile

_SAMPLES_PER_LEVEL = 16


def verify_pyramid(path: Path, sizes: tuple[Size, ...], expected: Callable[[int, int, int], bytes]) -> None:
    """Re-open a label pyramid and compare it with what was meant.

    Checked: number, sizes and tiling of levels as tifffile sees them; that every tile is there and lies
    inside the file; that 16 to 31 tiles of each level (all of fewer), evenly spread, hold the bytes
    `expected(level, column, row)` and inflate to one tile; that OpenSlide opens the file with the same
    levels.

    Raises:
        PyramidError: anything of that is otherwise.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            if len(tiff.pages) != len(sizes):
                raise PyramidError(
                    f"{path.name} came back with {len(tiff.pages)} levels instead of {len(sizes)}."
                )
            for level, size in enumerate(sizes):
                page = tiff.pages[level]
                assert isinstance(page, tifffile.TiffPage)
                _verify_level(page, level, size, expected)
        with openslide.OpenSlide(path) as slide:
            if slide.level_dimensions != tuple((size.width, size.height) for size in sizes):
                raise PyramidError(f"OpenSlide sees other levels in {path.name}: {slide.level_dimensions}.")
    except (tifffile.TiffFileError, openslide.OpenSlideError, ValueError, OSError) as error:
        raise PyramidError(
            f"{path.name} cannot be read back: {error}. Is the disk full? Run the job again."
        ) from error


def _verify_level(
    page: tifffile.TiffPage, level: int, size: Size, expected: Callable[[int, int, int], bytes]
) -> None:
    """Check the tile table and a sample of the tiles of one level.

    Raises:
        PyramidError: they are not as expected.
        ValueError: a stored tile does not inflate.
    """
    tiles = size.tiles(TILE_PX)
    shape = (page.imagewidth, page.imagelength, page.tilewidth, page.tilelength, len(page.dataoffsets))
    if shape != (size.width, size.height, TILE_PX, TILE_PX, tiles.pixels):
        raise PyramidError(f"level {level} came back as {shape} (width, height, tile sides, tiles).")
    offsets, lengths = np.asarray(page.dataoffsets, np.int64), np.asarray(page.databytecounts, np.int64)
    file = page.parent.filehandle
    if lengths.min() <= 0 or offsets.min() <= 0 or (offsets + lengths).max() > file.size:
        raise PyramidError(f"level {level} has tiles outside the file. Is the disk full? Run the job again.")
    for index in range(0, tiles.pixels, max(1, tiles.pixels // _SAMPLES_PER_LEVEL)):
        file.seek(int(offsets[index]))
        stored = file.read(int(lengths[index]))
        if stored != expected(level, index % tiles.width, index // tiles.width):
            raise PyramidError(f"tile {index} of level {level} came back different. Run the job again.")
        decode_tile(stored)
