"""A slide and its truth at label px, decoded once into memory maps so that any square of it costs no
decoding."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from model.errors import CohortError
from wsi.geometry import Rect
from wsi.grid import Grid, InputGeometry, make_grid
from wsi.slide import Slide, open_slide

from .cohort import SlideWithTruth

STRIP_PX = 256
"""Rows of label px decoded at once: bounds memory to a strip of the slide."""

WHITE = 255


class CachedSlide:
    """Pixels (H, W, 3) and truth (H, W) of one slide as read-only memory maps; squares may stick out of the
    slide."""

    def __init__(self, name: str, grid: Grid, pixels: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
        self.name = name
        self.grid = grid
        self.truth = truth
        self._pixels = pixels

    @classmethod
    def open(cls, pair: SlideWithTruth, geometry: InputGeometry, cache: Path) -> "CachedSlide":
        """The cached slide, decoding it into folder `cache` when it is not there yet (4 bytes a label px on
        disk).

        Raises CohortError when the truth does not lie on the slide's grid or the slide's mpp is unknown, and
        the errors of wsi for a slide that cannot be read.
        """
        cache.mkdir(parents=True, exist_ok=True)
        with open_slide(pair.slide) as slide:
            if slide.info.mpp is None:
                raise CohortError(f"{pair.slide.name}: pixel size unknown. Add resolution tags to the file.")
            grid = make_grid(slide.info.size, slide.info.mpp.value, geometry)
            shape = (grid.label_size.height, grid.label_size.width)
            pixels = _cached(
                cache / f"{_key(pair.slide, grid)}.pixels.npy",
                (*shape, 3),
                lambda out: _decode(slide, grid, out),
            )
        truth = _cached(
            cache / f"{_key(pair.truth, grid)}.truth.npy", shape, lambda out: _decode_truth(pair.truth, out)
        )
        return cls(pair.slide.name, grid, pixels, truth)

    def read_pixels(self, square: Rect) -> NDArray[np.uint8]:
        """RGB (H, W, 3) of a rectangle in label px, a writable copy; white outside the slide, as in wsi."""
        return _cut(self._pixels, square, WHITE)

    def read_truth(self, square: Rect) -> NDArray[np.uint8]:
        """Class values (H, W) of a rectangle in label px, a writable copy; 0 outside the slide."""
        return _cut(self.truth, square, 0)


def _cut(array: NDArray[np.uint8], square: Rect, fill: int) -> NDArray[np.uint8]:
    out = np.full((square.height, square.width, *array.shape[2:]), fill, np.uint8)
    inside = square.intersect(Rect(0, 0, array.shape[1], array.shape[0]))
    if not inside.is_empty:
        target = inside.moved(-square.x, -square.y)
        source = array[inside.y : inside.bottom, inside.x : inside.right]
        out[target.y : target.bottom, target.x : target.right] = source
    return out


def _key(path: Path, grid: Grid) -> str:
    status = path.stat()
    parts = (path.resolve(), status.st_size, status.st_mtime_ns, grid.downsample, grid.slide_mpp)
    return f"{path.stem}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"


def _cached(
    path: Path, shape: tuple[int, ...], fill: Callable[[NDArray[np.uint8]], None]
) -> NDArray[np.uint8]:
    if not path.exists():
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            out = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
            fill(out)
            out.flush()
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    array: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return array


def _decode(slide: Slide, grid: Grid, out: NDArray[np.uint8]) -> None:
    for y in range(0, grid.label_size.height, STRIP_PX):
        height = min(STRIP_PX, grid.label_size.height - y)
        strip_l0 = Rect(0, y, grid.label_size.width, height).scaled(grid.downsample)
        out[y : y + height] = slide.read_region(strip_l0, grid.downsample)


def _decode_truth(path: Path, out: NDArray[np.uint8]) -> None:
    """Level 0 of the truth TIFF, tile by tile."""
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            if page.shape != out.shape or page.dtype != np.uint8:
                raise CohortError(
                    f"{path.name} is {page.shape} {page.dtype}; this slide's label grid needs {out.shape} uint8 "
                    "(height, width). Make the truth at the model's mpp."
                )
            for segment, index, shape in page.segments():
                if segment is not None:
                    # Tiles at the right and lower edge are stored whole.
                    inside = out[index[2] : index[2] + shape[1], index[3] : index[3] + shape[2]]
                    inside[...] = segment[0, : inside.shape[0], : inside.shape[1], 0]
    except (OSError, tifffile.TiffFileError) as error:
        raise CohortError(f"{path.name} cannot be read as a TIFF ({error}). Write it again.") from error
