"""Write tiles of a map as verified pyramidal TIFFs: `labels.tif` for programs, `overlay.tif` for people.

These two hold the same tile bytes and differ in tags only; maps of a quantity have the same layout. Level k
has floor(w / 2^k) x floor(h / 2^k) px, so that every reduced pixel stands for four real ones; there are
levels down to the one that fits one tile (or whose shorter side is 1 px). Layout and tags are what OpenSlide,
libvips, tifffile and ASAP all read.
"""

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Self

import numpy as np
import tifffile
from numpy.typing import NDArray

from ..atomic import atomic_file
from ..geometry import Size
from ..grid import TILE_PX, Grid
from ..palette import Palette
from .ome_tiff import chain_levels, ome_description
from .pyramid_builder import IncrementalBuild, PyramidBuilder, TileSource
from .pyramid_check import verify_pyramid
from .reduction import Reduction, reduce_majority, reduce_mean
from .tile_codec import encode_uniform
from .tile_spool import TileSpool

_BUILD_SHARE = 0.8  # of the time; the rest is copying the tiles into the two files

Stage = Callable[[str], AbstractContextManager[object]]
"""Returns a context manager that times the named stage."""


def _unheard(_share: float) -> None:
    """Take a fraction that nobody wants to know."""


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


class LabelPyramids:
    """Incremental writer of `labels.tif` and `overlay.tif`; a context that holds what is built of them.

    Each tile is encoded once; level-0 bytes of the source are taken over as they are. Same input, same bytes:
    no time stamps. Memory: four tiles a level and 16 a thread, plus 16 bytes a tile, whatever the slide.
    """

    def __init__(self, source: TileSource, grid: Grid, folder: Path) -> None:
        """Begin pyramids of the tiles of `source`, which is called in several threads at once.

        What is built lies in a nameless file in `folder`, until the end of the context.
        """
        self._pyramid = _Pyramid(source, grid, folder, reduce_majority)
        self._grid = grid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pyramid.close()

    def ahead(self, patches: Iterable[int]) -> IncrementalBuild:
        """Return an incremental build, to be told of each of `patches` once it is stored."""
        return IncrementalBuild(self._pyramid.builder, self._grid, patches)

    def write(
        self,
        palette: Palette,
        description: Mapping[str, object],
        *,
        labels: Path,
        overlay: Path,
        threads: int = 1,
        progress: Callable[[float], None] = _unheard,
        stage: Stage = nullcontext,
    ) -> PyramidSummary:
        """Build what is missing; write `labels` (grey, value = class) and `overlay` (palette).

        Both are written under temporary names, re-opened, verified and renamed. `description` becomes the
        ImageDescription, as JSON; its "software" entry is the Software tag too. `progress` is called with
        fractions from 0 to 1; `stage("verify")` returns the context manager that verifying runs in.

        Raises:
            PyramidError: a file did not survive being read back.
        """
        files = ((labels, None), (overlay, palette.tiff_colour_map()))
        return self._pyramid.write(files, description, threads=threads, report=progress, stage=stage)


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
) -> PyramidSummary:
    """Write `labels` and `overlay` from the tiles of `source` at once: see LabelPyramids.

    Raises:
        PyramidError: a file did not survive being read back.
    """
    with LabelPyramids(source, grid, labels.parent) as pyramids:
        return pyramids.write(
            palette,
            description,
            labels=labels,
            overlay=overlay,
            threads=threads,
            progress=progress or _unheard,
        )


def write_quantity_pyramid(
    source: TileSource,
    grid: Grid,
    description: Mapping[str, object],
    path: Path,
    *,
    channel: str,
    threads: int = 1,
    progress: Callable[[float], None] = _unheard,
) -> None:
    """Write a grey pyramid of a quantity that is 0 where nothing is known, reduced by `reduce_mean`.

    It is an OME-TIFF too: `channel` is its name there, `description` the description of the image. Layout,
    other tags, memory and errors are those of LabelPyramids.
    """
    with closing(_Pyramid(source, grid, path.parent, reduce_mean, channel)) as pyramid:
        pyramid.write(((path, None),), description, threads=threads, report=progress)


class _Pyramid:
    """All levels of a map, built once, and written to each of several files.

    `channel` is the name of the channel of an OME-TIFF; None for a TIFF without OME.
    """

    def __init__(
        self, source: TileSource, grid: Grid, folder: Path, reduce: Reduction, channel: str | None = None
    ) -> None:
        self._grid = grid
        self._channel = channel
        self._sizes = level_sizes(grid.label_size)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (closed by `close`)
        self._spool = TileSpool(self._file, self._sizes, encode_uniform(0))
        self.builder = PyramidBuilder(source, self._sizes, self._spool, reduce)

    def close(self) -> None:
        """Drop what is built."""
        self._file.close()

    def write(
        self,
        files: Sequence[tuple[Path, NDArray[np.uint16] | None]],
        description: Mapping[str, object],
        *,
        threads: int,
        report: Callable[[float], None],
        stage: Stage = nullcontext,
    ) -> PyramidSummary:
        """Build what is missing, and write each of `files`, with or without a colour map.

        Raises:
            PyramidError: a file did not survive being read back.
        """
        self.builder.finish(threads, lambda share: report(share * _BUILD_SHARE))
        text = _text(description, self._channel, self._grid, self._spool)
        software = str(description.get("software", "darefine"))
        for number, (path, colours) in enumerate(files, start=1):
            with atomic_file(path) as temporary:
                ome = self._channel is not None
                _write_tiff(temporary, self._spool, self._grid.label_mpp, colours, text, software, ome=ome)
                with stage("verify"):
                    verify_pyramid(temporary, self._sizes, self._spool.encoded)
            report(_BUILD_SHARE + (1 - _BUILD_SHARE) * number / len(files))
        return PyramidSummary(class_counts=self.builder.class_counts(), levels=len(self._sizes))


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
