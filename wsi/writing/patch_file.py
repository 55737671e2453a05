"""Write and read the file of one finished patch: a small TIFF pyramid, level 0 and five reduced levels.

Level k has patch_px / 2^k px a side, reduced as in the finished pyramid. A patch begins on a multiple of
512 label px, so down to level 9 no reduced pixel has parts of two patches, and the levels of all patches side
by side are those of the finished pyramid.
"""

import math
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from ..geometry import Rect, Size
from ..grid import TILE_PX, Grid
from .reduction import Reduction, reduce_majority
from .tile_codec import encode_tile

PATCH_LEVELS = 6
"""Levels in the file of a patch: 0 to 5. Readers halve the coarsest, 80 px a side, further: that is cheap."""

_TILED_LEVELS = 3
"""Levels stored in blocks of 512 / 2^k px, the reduced tiles of level 0; the coarser ones are one block."""

_FAST_DEFLATE = 1
"""Reduced levels are there only while a job runs: a quarter of the time for a few kB more."""

_NAME = re.compile(r"patch-(\d{6,})\.tif")
_DEFLATE = 8  # TIFF Compression
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 258, 259, 277, 322, 323
_OF_TILES, _OF_STRIPS = (324, 325), (273, 279)  # TIFF tags: offsets, byte counts
_NUMBERS = {3: "<u2", 4: "<u4"}  # TIFF field types: SHORT, LONG

_NO_NUMBERS = np.zeros(0, np.uint32)


@dataclass(frozen=True, slots=True)
class BlockRanges:
    """Byte ranges of the blocks of one level of a patch file, row-major."""

    offsets: NDArray[np.uint32]
    lengths: NDArray[np.uint32]


def patch_path(directory: Path, patch_index: int) -> Path:
    """Return where the file of a patch is."""
    return directory / f"patch-{patch_index:06d}.tif"


def patch_index(name: str) -> int | None:
    """Return the index of the patch whose file has this name; None for other files."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def block_px(level: int, patch_px: int) -> int:
    """Return the side of the blocks in which a level of a patch is stored, px of that level."""
    return TILE_PX >> level if level < _TILED_LEVELS else patch_px >> level


def write_patch_file(
    path: Path,
    labels: NDArray[np.uint8],
    inside: Size,
    origin: tuple[int, int],
    reduce: Reduction = reduce_majority,
) -> None:
    """Write a patch core, (patch_px, patch_px) uint8, and its levels reduced by `reduce`.

    What sticks out of the label map, beyond `inside` px, is stored as 0; so are reduced pixels that the
    finished pyramid does not have because they would stand for less than a whole square. `origin` is the
    core's (x, y) in label px.

    Raises:
        OSError: the file cannot be written.
    """
    raster = _cropped(labels, inside)
    with tifffile.TiffWriter(path, byteorder="<") as tiff:
        for level in range(PATCH_LEVELS):
            side = block_px(level, labels.shape[0])
            blocks = _encoded_blocks(raster, side)
            layout = {"tile": (side, side)} if level < _TILED_LEVELS else {"rowsperstrip": side}
            tiff.write(
                blocks,
                shape=raster.shape,
                dtype=np.uint8,
                compression="adobe_deflate",
                photometric="minisblack",
                subfiletype=1 if level else 0,
                software=False,
                metadata=None,
                **layout,
            )
            if level + 1 < PATCH_LEVELS:
                raster = _cropped(_reduced(raster, reduce), _inside(inside, origin, level + 1))


def patch_table(data: bytes, patch_px: int) -> tuple[BlockRanges, ...] | None:
    """Find the blocks of every level in the bytes of a patch file; None when it is truncated or no such file.

    Parsed here because tifffile takes milliseconds for six pages, and a job has thousands of patches.
    """
    try:
        pages = list(_pages(data))
    except (struct.error, ValueError):
        return None
    if len(pages) != PATCH_LEVELS:
        return None
    levels = [_block_ranges(page, level, patch_px) for level, page in enumerate(pages)]
    whole = [blocks for blocks in levels if blocks is not None and _end(blocks) <= len(data)]
    return tuple(whole) if len(whole) == len(levels) else None


def patch_inside(grid: Grid, patch_index: int) -> tuple[Size, tuple[int, int]]:
    """Return how much of a patch core lies in the label map, and the core's (x, y), label px."""
    core = grid.patch_core(patch_index)
    return core.intersect(Rect.of(grid.label_size)).size, (core.x, core.y)


def _inside(inside: Size, origin: tuple[int, int], level: int) -> Size:
    """Return how many px of a level of the patch the finished pyramid has: whole ones only."""
    x, y = origin
    return Size(((x + inside.width) >> level) - (x >> level), ((y + inside.height) >> level) - (y >> level))


def _cropped(raster: NDArray[np.uint8], inside: Size) -> NDArray[np.uint8]:
    """Return the raster with zeros beyond `inside`; the same array when there is nothing beyond."""
    if (inside.height, inside.width) == raster.shape:
        return raster
    cropped = np.zeros_like(raster)
    cropped[: inside.height, : inside.width] = raster[: inside.height, : inside.width]
    return cropped


def _reduced(raster: NDArray[np.uint8], reduce: Reduction) -> NDArray[np.uint8]:
    """Halve a raster block by block: blocks fit into the processor's cache, and many have one value."""
    side = raster.shape[0]
    half = np.empty((side // 2, side // 2), np.uint8)
    step = math.gcd(side, TILE_PX)
    for y in range(0, side, step):
        for x in range(0, side, step):
            block = np.ascontiguousarray(raster[y : y + step, x : x + step])
            half[y // 2 : (y + step) // 2, x // 2 : (x + step) // 2] = reduce(block)
    return half


def _encoded_blocks(raster: NDArray[np.uint8], side: int) -> Iterator[bytes]:
    for y in range(0, raster.shape[0], side):
        for x in range(0, raster.shape[1], side):
            block = np.ascontiguousarray(raster[y : y + side, x : x + side])
            # Level 0 in the very bytes of the finished pyramid, which takes them over.
            yield encode_tile(block) if side == TILE_PX else zlib.compress(block.tobytes(), _FAST_DEFLATE)


def _pages(data: bytes) -> Iterator[Mapping[int, NDArray[np.uint32]]]:
    """Yield the whole numbers in the tags of each page of a little-endian TIFF, at most one page too many.

    Raises:
        ValueError: it is none, or truncated.
        struct.error: it is truncated.
    """
    magic, version, at = struct.unpack_from("<2sHI", data)
    if (magic, version) != (b"II", 42):
        raise ValueError("no classic little-endian TIFF")
    for _ in range(PATCH_LEVELS + 1):
        if not at:
            return
        (count,) = struct.unpack_from("<H", data, at)
        page = {}
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from("<HHI", data, entry)
            if kind in _NUMBERS:
                page[tag] = _numbers(data, _NUMBERS[kind], number, entry + 8)
        yield page
        (at,) = struct.unpack_from("<I", data, at + 2 + 12 * count)


def _numbers(data: bytes, form: str, number: int, position: int) -> NDArray[np.uint32]:
    """Return the values of a tag whose value field lies at `position`."""
    if number * int(form[-1]) > 4:
        (position,) = struct.unpack_from("<I", data, position)
    return np.frombuffer(data, form, number, position).astype(np.uint32)


def _block_ranges(page: Mapping[int, NDArray[np.uint32]], level: int, patch_px: int) -> BlockRanges | None:
    """Return where the blocks of a page lie; None if it is not this level of a patch of this size."""
    side, block = patch_px >> level, block_px(level, patch_px)
    expected = {_WIDTH: side, _HEIGHT: side, _BITS: 8, _COMPRESSION: _DEFLATE, _SAMPLES: 1}
    tiled = level < _TILED_LEVELS
    if tiled:
        expected |= {_TILE_WIDTH: block, _TILE_HEIGHT: block}
    if any(page.get(tag, _NO_NUMBERS).tolist() != [value] for tag, value in expected.items()):
        return None
    offsets, lengths = (page.get(tag, _NO_NUMBERS) for tag in (_OF_TILES if tiled else _OF_STRIPS))
    if not len(offsets) == len(lengths) == (side // block) ** 2 or lengths.min() == 0:
        return None
    return BlockRanges(offsets, lengths)


def _end(blocks: BlockRanges) -> int:
    """Return the first byte past all of the blocks."""
    return int((blocks.offsets.astype(np.int64) + blocks.lengths).max())
