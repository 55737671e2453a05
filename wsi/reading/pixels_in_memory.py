"""Serve a slide's pixels from an array, for small images that are read many times."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..geometry import Rect, Size
from .levels import PyramidSlide, reduce_mean
from .slide_info import SlideInfo


class ArrayLevels:
    """LevelSource of one level that is an array. Thread-safe: nothing is written."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        """Take `pixels` (H, W, 3) RGB as they are; they must not change."""
        self._pixels = pixels

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The size of the array."""
        height, width = self._pixels.shape[:2]
        return (Size(width, height),)

    def read(self, level: int, rect: Rect, reduce: int) -> NDArray[np.uint8]:
        """Read a rectangle of the array; the contract is that of LevelSource.read, and `level` is 0."""
        assert level == 0
        return reduce_mean(self._pixels[rect.y : rect.bottom, rect.x : rect.right], reduce)

    def close(self) -> None:
        """Do nothing: the array goes with its last reference."""


def slide_in_memory(pixels: NDArray[np.uint8], info: SlideInfo) -> PyramidSlide:
    """Return a slide of one level whose l0 px are `pixels` (H, W, 3) RGB; `info` says all but the sizes."""
    levels = ArrayLevels(pixels)
    size = levels.sizes[0]
    return PyramidSlide(replace(info, size=size, level_downsamples=(1.0,), bounds=Rect.of(size)), levels)
