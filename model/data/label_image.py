"""Read the truth of a slide from an image of class codes that covers the whole slide: TIFF or PNG."""

import warnings
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from wsi.errors import LabelTiffError
from wsi.geometry import Rect, Size
from wsi.grid import Grid
from wsi.writing.label_tiff import LabelTiff

from ..errors import CohortError
from .class_scheme import UNLABELLED, ClassScheme

IMAGE_SUFFIXES = (".png", ".tif", ".tiff")

MARKS = ("-labels", "_labels", "-mask", "_mask")
"""What the name of a label image has behind that of its slide."""

MAX_PNG_PX = 2**28
"""Most pixels of a PNG, which is decoded as a whole."""

SCALE_TOLERANCE = 0.02
"""Relative difference of the two sides' scales, beyond a pixel, above which an image does not fit."""


class LabelImage:
    """Open label image, read on a slide's grid. Thread-safe. A context manager.

    A label px has the class of the image's pixel under its centre. Memory: a PNG whole, of a TIFF what is
    read.
    """

    def __init__(self, path: Path, grid: Grid, scheme: ClassScheme) -> None:
        """Open an image of class codes.

        Raises:
            CohortError: It cannot be read, is no image of codes, or does not cover the slide.
        """
        self.name = path.name
        self._frame = Rect.of(grid.label_size)
        self._source: LabelTiff | _Png = _open(path)
        _check_size(path.name, self._source.size, grid.slide)
        size, n = self._source.size, grid.downsample
        self._columns, self._rows = (
            np.minimum((np.arange(length) + 0.5) * n * pixels / whole, pixels - 1).astype(np.intp)
            for length, pixels, whole in (
                (grid.label_size.width, size.width, grid.slide.width),
                (grid.label_size.height, size.height, grid.slide.height),
            )
        )
        self._values = np.full(256, UNLABELLED, np.uint8)
        self._values[list(scheme.codes)] = list(scheme.codes.values())
        self._known = {0, *scheme.codes}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source.close()

    def check(self, scheme: ClassScheme) -> None:
        """Look through the whole image for codes that are no class.

        Raises:
            CohortError: It has some; they are named.
        """
        found = np.zeros(256, np.int64)
        for _, band in self._source.bands():
            found += np.bincount(band.ravel(), minlength=256)
        unknown = [code for code in np.flatnonzero(found).tolist() if code not in self._known]
        if unknown:
            known = ", ".join(f"{code} {scheme.classes[v - 1].name}" for code, v in scheme.codes.items())
            counts = ", ".join(f"{code} ({found[code]} px)" for code in unknown[:8])
            raise CohortError(f"{self.name} has the codes {counts}, which are no class. There are {known}.")

    def read(self, rect: Rect) -> NDArray[np.uint8]:
        """Return the class values (H, W) of a rectangle of label px; UNLABELLED for code 0, 0 outside."""
        labels = np.zeros((rect.height, rect.width), np.uint8)
        inside = rect.intersect(self._frame)
        if inside.is_empty:
            return labels
        columns, rows = self._columns[inside.x : inside.right], self._rows[inside.y : inside.bottom]
        left, top = int(columns[0]), int(rows[0])
        codes = self._source.read(Rect(left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1))
        at = inside.moved(-rect.x, -rect.y)
        labels[at.y : at.bottom, at.x : at.right] = self._values[codes[np.ix_(rows - top, columns - left)]]
        return labels


class _Png:
    """Decoded PNG, with what LabelTiff has of a label map."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self._pixels = pixels
        self.size = Size(pixels.shape[1], pixels.shape[0])

    def read(self, rect: Rect) -> NDArray[np.uint8]:
        return self._pixels[rect.y : rect.bottom, rect.x : rect.right]

    def bands(self) -> list[tuple[Rect, NDArray[np.uint8]]]:
        return [(Rect.of(self.size), self._pixels)]

    def close(self) -> None:
        """There is no file to release."""


def _open(path: Path) -> LabelTiff | _Png:
    """Open an image of codes.

    Raises:
        CohortError: It is none.
    """
    try:
        return LabelTiff(path) if path.suffix.lower() != ".png" else _Png(_decoded(path))
    except (LabelTiffError, OSError, ValueError, SyntaxError) as error:
        told = "it is no PNG" if isinstance(error, UnidentifiedImageError) else " ".join(str(error).split())
        raise CohortError(
            f"{path.name} cannot be read as a label image ({told}). Save one channel of 8 bits, grey or "
            "palette, whose values are the codes of the classes."
        ) from error


def _decoded(path: Path) -> NDArray[np.uint8]:
    """Return the codes of a PNG; a palette's colours do not matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path) as image:
            if image.width * image.height > MAX_PNG_PX:
                raise ValueError(f"{image.width} x {image.height} px are too many for a PNG; save a TIFF")
            if image.mode not in {"L", "P", "1"}:
                raise ValueError(f"its mode is {image.mode}")
            return np.asarray(image).astype(np.uint8)


def _check_size(name: str, image: Size, slide: Size) -> None:
    """Check that an image has the proportions of the slide, to a pixel.

    Raises:
        CohortError: It has not.
    """
    across, down = slide.width / image.width, slide.height / image.height
    slack = SCALE_TOLERANCE + 1 / min(image.width, image.height)
    if abs(across / down - 1) > slack or max(across, down) < 1 - slack:
        raise CohortError(
            f"{name} has {image.width} x {image.height} px, the slide {slide.width} x {slide.height}: "
            f"reduced {across:.3g} times across and {down:.3g} times down. A label image covers the whole "
            "slide, reduced alike both ways."
        )
