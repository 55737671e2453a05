"""Write a phantom: the slide as a pyramidal JPEG TIFF, the truth as a label pyramid."""

import io
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from ..atomic import atomic_file
from ..geometry import Rect, Size
from ..grid import TILE_PX, Grid, InputGeometry, make_grid
from ..writing.pyramid import level_sizes, write_label_pyramids
from ..writing.pyramid_walk import Quad, build_pyramid, build_subtree
from ..writing.tile_codec import encode_tile
from ..writing.tile_spool import TileSpool
from .mark import PHANTOM_MARK
from .slide import LATEST, MPP, PhantomSlide, Version
from .territories import PHANTOM_PALETTE

_GEOMETRY = InputGeometry(mpp=0.934, context_ratio=5, slices_per_side=5, halo_px=64)
_CLASSIC_TIFF_BYTES = 3_900_000_000
_SLIDE_SHARE = 0.85

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PhantomFiles:
    """Files that `write_phantom` wrote."""

    slide: Path
    truth: Path
    """Label pyramid, grey, about 0.934 um/px."""
    truth_overlay: Path
    """The same tiles in the palette's colours."""

    @classmethod
    def beside(cls, slide: Path) -> Self:
        """Name the truths of a slide, which lie beside it."""
        truth, overlay = (slide.with_name(f"{slide.stem}-{kind}.tif") for kind in ("truth", "truth-overlay"))
        return cls(slide, truth, overlay)


def write_phantom(
    out: Path,
    *,
    size_px: int,
    seed: int,
    mpp: float = MPP,
    height_px: int | None = None,
    tissue_fraction: float = 0.7,
    territory_um: float = 4000.0,
    version: Version = LATEST,
    threads: int | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> PhantomFiles:
    """Write a synthetic slide to `out` (.tif) and its truth beside it.

    The truth is `<stem>-truth.tif` and `<stem>-truth-overlay.tif`. The slide is what OpenSlide calls
    generic-tiff: JPEG tiles of 512 px, factor 2 down to one tile, resolution tags. Both are streamed: memory
    is about 320 MB, the interpreter included, whatever the size; glass costs next to nothing in time and
    bytes. Same arguments, same bytes (for one version of Pillow). `progress` gets fractions from 0 to 1.

    Raises:
        ValueError: `PhantomSlide` refuses the arguments.
        MppOutOfRangeError: the mpp is above 1.868.
        OSError: the disk is full.
    """
    phantom = PhantomSlide(
        size_px,
        seed,
        mpp,
        height_px=height_px,
        tissue_fraction=tissue_fraction,
        territory_um=territory_um,
        version=version,
    )
    files = PhantomFiles.beside(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    threads = threads or os.cpu_count() or 1
    _write_slide(out, phantom, threads, lambda share: progress(share * _SLIDE_SHARE))
    _write_truth(files, phantom, threads, lambda share: progress(_SLIDE_SHARE + share * (1 - _SLIDE_SHARE)))
    return files


def _write_truth(
    files: PhantomFiles, phantom: PhantomSlide, threads: int, progress: Callable[[float], None]
) -> None:
    grid = make_grid(phantom.size, phantom.mpp, _GEOMETRY)
    description = {
        "truth_of": files.slide.name,
        "seed": phantom.seed,
        "synthetic": "phantom slide for trying the software, not tissue",
    }
    write_label_pyramids(
        _Truth(phantom, grid),
        grid,
        PHANTOM_PALETTE,
        description,
        labels=files.truth,
        overlay=files.truth_overlay,
        threads=threads,
        progress=progress,
    )


class _Truth:
    """Truth as tiles of a label map (`wsi.writing.pyramid.TileSource`)."""

    def __init__(self, phantom: PhantomSlide, grid: Grid) -> None:
        self._phantom = phantom
        self._downsample = grid.downsample

    def encoded_tile(self, column: int, row: int) -> bytes | None:
        region = Rect(column * TILE_PX, row * TILE_PX, TILE_PX, TILE_PX)
        if self._phantom.is_glass(region.scaled(self._downsample)):
            return None
        return encode_tile(self._phantom.truth(region, self._downsample))


class _SlideBuilder:
    """Builder of all levels of the slide, in threads.

    Level 0 is rendered; a tile of level k follows as soon as its four of level k - 1 are there.
    """

    def __init__(self, phantom: PhantomSlide, sizes: tuple[Size, ...], spool: TileSpool) -> None:
        self._phantom = phantom
        self._spool = spool
        self._tiles = [size.tiles(TILE_PX) for size in sizes]

    def run(self, threads: int, progress: Callable[[float], None]) -> None:
        build_pyramid(self._tiles, self._subtree, self._coarser, threads=threads, progress=progress)

    def _subtree(self, column: int, row: int) -> Pixels | None:
        return build_subtree(self._tiles, (column, row), self._finest, self._coarser)

    def _finest(self, column: int, row: int) -> Pixels | None:
        """Render a tile; return it at half its size."""
        region = Rect(column * TILE_PX, row * TILE_PX, TILE_PX, TILE_PX)
        if self._phantom.is_blank(region):
            return None
        pixels = self._phantom.render(region)
        self._spool.add(0, column, row, _encode_jpeg(pixels, self._phantom.jpeg_quality))
        return _halved(pixels)

    def _coarser(self, level: int, column: int, row: int, quad: Quad[Pixels]) -> Pixels:
        """Make a tile from the halves of its four; return it at half its size."""
        half = TILE_PX // 2
        pixels = np.empty((TILE_PX, TILE_PX, 3), dtype=np.uint8)
        for index, child in enumerate(quad):
            dy, dx = divmod(index, 2)
            quarter = pixels[dy * half : (dy + 1) * half, dx * half : (dx + 1) * half]
            quarter[...] = self._phantom.stain.glass if child is None else child
        self._spool.add(level, column, row, _encode_jpeg(pixels, self._phantom.jpeg_quality))
        return _halved(pixels)


def _encode_jpeg(pixels: Pixels, quality: int, *, optimise: bool = False) -> bytes:
    """Encode RGB (H, W, 3) as a 4:2:0 JPEG stream with its own tables; `optimise` is slow, good for glass."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling="4:2:0", optimize=optimise)
    return stream.getvalue()


def _write_slide(path: Path, phantom: PhantomSlide, threads: int, report: Callable[[float], None]) -> None:
    sizes = level_sizes(phantom.size)
    glass = np.full((TILE_PX, TILE_PX, 3), phantom.stain.glass, dtype=np.uint8)
    with tempfile.TemporaryFile(dir=path.parent) as file, atomic_file(path) as temporary:
        spool = TileSpool(file, sizes, _encode_jpeg(glass, phantom.jpeg_quality, optimise=True))
        _SlideBuilder(phantom, sizes, spool).run(threads, report)
        _write_levels(temporary, sizes, spool, phantom)


def _write_levels(path: Path, sizes: tuple[Size, ...], spool: TileSpool, phantom: PhantomSlide) -> None:
    tiles = sum(size.tiles(TILE_PX).pixels for size in sizes)
    big = spool.nbytes + tiles * 8192 > _CLASSIC_TIFF_BYTES
    # The tiles come encoded, but tifffile names JPEG in a tag only where imagecodecs is installed; a codec
    # for writing two tags is too much, so they are corrected afterwards.
    with tifffile.TiffWriter(path, bigtiff=big) as tiff:
        for level, size in enumerate(sizes):
            per_cm = 10_000 / (phantom.mpp * 2**level)
            tiff.write(
                spool.level(level),
                shape=(size.height, size.width, 3),
                dtype=np.uint8,
                tile=(TILE_PX, TILE_PX),
                photometric="rgb",
                compression="adobe_deflate",
                extratags=[("YCbCrSubSampling", "H", 2, (2, 2), True)],
                subfiletype=1 if level else 0,
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                description=f"{PHANTOM_MARK}; seed {phantom.seed}",
                software="darefine",
                metadata=None,
            )
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for page in tiff.pages:
            assert isinstance(page, tifffile.TiffPage)
            page.tags["Compression"].overwrite(tifffile.COMPRESSION.JPEG)
            page.tags["PhotometricInterpretation"].overwrite(tifffile.PHOTOMETRIC.YCBCR)


def _halved(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels).reduce(2))
