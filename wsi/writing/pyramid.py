"""Write tiles of a map as verified pyramidal TIFFs: `labels.tif` for programs, `overlay.tif` for people.

These two hold the same tile bytes and differ in tags only; maps of a quantity have the same layout. Level k
has floor(w / 2^k) x floor(h / 2^k) px, so that every reduced pixel stands for four real ones; there are
levels down to the one that fits one tile (or whose shorter side is 1 px). Layout and tags are what OpenSlide,
libvips, tifffile and ASAP all read.
"""

import json
import re
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from ..atomic import atomic_file
from ..geometry import Size
from ..grid import TILE_PX, Grid
from ..palette import Palette
from .ome_tiff import chain_levels, ome_description
from .pyramid_check import verify_pyramid
from .pyramid_walk import Quad, build_pyramid
from .reduction import Reduction, reduce_majority, reduce_mean
from .tile_codec import decode_tile, encode_tile, encode_uniform
from .tile_spool import TileSpool

_BUILD_SHARE = 0.8  # of the time; the rest is copying the tiles into the two files


class TileSource(Protocol):
    """Level-0 tiles of a label map, (512, 512) uint8, 0 beyond the label map."""

    def encoded_tile(self, column: int, row: int) -> bytes | None:
        """Return one tile as the bytes of a deflate TIFF tile; None for a tile of zeros."""


@dataclass(frozen=True, slots=True)
class PyramidSummary:
    """Class counts and levels of a finished pair of files."""

    class_counts: tuple[int, ...]
    """256 numbers: level-0 pixels of each value."""
    levels: int


def level_sizes(label_size: Size) -> tuple[Size, ...]:
    """Return the sizes in px of all levels, finest first."""
    sizes = [label_size]
    while max(sizes[-1].width, sizes[-1].height) > TILE_PX and min(sizes[-1].width, sizes[-1].height) > 1:
        sizes.append(Size(sizes[-1].width // 2, sizes[-1].height // 2))
    return tuple(sizes)


def write_label_pyramids(
    source: TileSource,
    grid: Grid,
    palette: Palette,
    description: Mapping[str, object],
    *,
    labels: Path,
    overlay: Path,
    threads: int = 1,
    progress: Callable[[float], None] | None = None,
    stage: Callable[[str], AbstractContextManager[object]] = nullcontext,
) -> PyramidSummary:
    """Write `labels` (grey, value = class) and `overlay` (palette) from the tiles of `source`.

    Each tile is encoded once; level-0 bytes of the source are taken over as they are. Same input, same bytes:
    no time stamps. Both files are written under temporary names, re-opened, verified and renamed. Memory:
    four tiles a level and 16 a thread, plus 16 bytes a tile, whatever the slide.

    `source` gives level-0 tiles and is called in `threads` threads at once. `description` becomes the
    ImageDescription, as JSON; its "software" entry is the Software tag too. `progress` is called with
    fractions from 0 to 1; `stage("verify")` returns the context manager that verifying runs in.

    Raises:
        PyramidError: a file did not survive being read back.
    """
    files = ((labels, None), (overlay, palette.tiff_colour_map()))
    return _write_pyramids(
        source,
        grid,
        description,
        files,
        _Kind(reduce_majority),
        threads,
        progress or (lambda _fraction: None),
        stage,
    )


def write_quantity_pyramid(
    source: TileSource,
    grid: Grid,
    description: Mapping[str, object],
    path: Path,
    *,
    channel: str,
    threads: int = 1,
    progress: Callable[[float], None] = lambda _fraction: None,
) -> None:
    """Write a grey pyramid of a quantity that is 0 where nothing is known, reduced by `reduce_mean`.

    It is an OME-TIFF too: `channel` is its name there, `description` the description of the image. Layout,
    other tags, memory and errors are those of `write_label_pyramids`.
    """
    kind = _Kind(reduce_mean, channel)
    _write_pyramids(source, grid, description, ((path, None),), kind, threads, progress, nullcontext)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What differs between maps of classes and of a quantity."""

    reduce: Reduction
    channel: str | None = None
    """Name of the channel of an OME-TIFF; None for a TIFF without OME."""


def _write_pyramids(
    source: TileSource,
    grid: Grid,
    description: Mapping[str, object],
    files: Sequence[tuple[Path, NDArray[np.uint16] | None]],
    kind: _Kind,
    threads: int,
    report: Callable[[float], None],
    stage: Callable[[str], AbstractContextManager[object]],
) -> PyramidSummary:
    """Build all levels once and write them to each of `files`, with or without a colour map.

    Raises:
        PyramidError: a file did not survive being read back.
    """
    sizes = level_sizes(grid.label_size)
    with tempfile.TemporaryFile(dir=files[0][0].parent) as file:
        spool = TileSpool(file, sizes, encode_uniform(0))
        builder = _Builder(source, sizes, spool, kind.reduce)
        builder.run(threads, lambda share: report(share * _BUILD_SHARE))
        text = _text(description, kind.channel, grid, spool)
        software = str(description.get("software", "darefine"))
        for number, (path, colours) in enumerate(files, start=1):
            with atomic_file(path) as temporary:
                _write_tiff(
                    temporary, spool, grid.label_mpp, colours, text, software, ome=kind.channel is not None
                )
                with stage("verify"):
                    verify_pyramid(temporary, sizes, spool.encoded)
            report(_BUILD_SHARE + (1 - _BUILD_SHARE) * number / len(files))
    return PyramidSummary(class_counts=builder.class_counts(), levels=len(sizes))


class _Builder:
    """Builder of all levels into a spool, in threads.

    A tile of level k is made as soon as its four tiles of level k - 1 are there.
    """

    def __init__(
        self, source: TileSource, sizes: tuple[Size, ...], spool: TileSpool, reduce: Reduction
    ) -> None:
        self._source = source
        self._reduce = reduce
        self._sizes = sizes
        self._tiles = [size.tiles(TILE_PX) for size in sizes]
        self._spool = spool
        self._counting = threading.Lock()
        self._counts = np.zeros(256, np.int64)

    def run(self, threads: int, progress: Callable[[float], None]) -> None:
        build_pyramid(self._tiles, self._finest, self._coarser, threads=threads, progress=progress)

    def class_counts(self) -> tuple[int, ...]:
        counts = self._counts.copy()
        counts[0] = self._sizes[0].pixels - counts[1:].sum()
        return tuple(int(count) for count in counts)

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
        with self._counting:
            self._counts += Image.fromarray(tile).histogram()  # faster than numpy's bincount
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


def _write_tiff(
    path: Path,
    spool: TileSpool,
    label_mpp: float,
    colours: NDArray[np.uint16] | None,
    text: str | bytes,
    software: str,
    *,
    ome: bool,
) -> None:
    with tifffile.TiffWriter(path, bigtiff=True, byteorder="<") as tiff:
        for level, size in enumerate(spool.sizes):
            per_cm = 10_000 / (label_mpp * 2**level)
            tiff.write(
                spool.level(level),
                shape=(size.height, size.width),
                dtype=np.uint8,
                tile=(TILE_PX, TILE_PX),
                compression="adobe_deflate",
                photometric="minisblack" if colours is None else "palette",
                colormap=colours,
                subfiletype=1 if level else 0,
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                description=text if level == 0 else None,
                software=software,
                subifds=len(spool.sizes) - 1 if ome and level == 0 else None,
                metadata=None,
            )
    if ome:
        chain_levels(path)


def _text(
    description: Mapping[str, object], channel: str | None, grid: Grid, spool: TileSpool
) -> str | bytes:
    """Return the ImageDescription of a finished spool: JSON, for an OME-TIFF within its XML."""
    text = _ascii_json(description)
    if channel is None:
        return text
    tiles = chain.from_iterable(spool.level(level) for level in range(len(spool.sizes)))
    return ome_description(grid.label_size, grid.label_mpp, channel, text, tiles)


def _ascii_json(description: Mapping[str, object]) -> str:
    """Return JSON in ASCII without the letters "xml": ASAP refuses a file whose ImageDescription has them."""
    text = json.dumps(description, ensure_ascii=True, sort_keys=True)
    return re.sub("(x)(?=ml)", lambda x: f"\\u{ord(x[1]):04x}", text, flags=re.IGNORECASE)
