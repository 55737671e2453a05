"""Read pixels through OpenSlide, which knows every vendor format."""

import threading
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image

from ..errors import SlideUnreadableError
from ..geometry import Rect, Size


class OpenSlideLevels:
    """LevelSource over an OpenSlide handle, which it owns."""

    def __init__(self, path: Path, handle: openslide.OpenSlide) -> None:
        self._path = path
        self._handle = handle
        self._sizes = tuple(Size(*size) for size in handle.level_dimensions)
        # OpenSlide's float, not our snapped one: it is what read_region divides the location by.
        self._openslide_downsamples: tuple[float, ...] = handle.level_downsamples
        self._replacing = threading.Lock()

    @property
    def sizes(self) -> tuple[Size, ...]:
        """Size of each level, finest first."""
        return self._sizes

    def read(self, level: int, rect: Rect, reduce: int) -> NDArray[np.uint8]:
        """Read a rectangle of a level; the contract is that of LevelSource.read.

        Pixels that no tile covers are transparent in OpenSlide and become white.

        Raises:
            SlideUnreadableError: pixels cannot be decoded.
        """
        handle = self._handle
        try:
            rgba = self._read(handle, level, rect)
        except openslide.OpenSlideError:
            rgba = self._read_anew(handle, level, rect)
        image = _on_white(rgba)
        return np.asarray(image if reduce == 1 else image.reduce(reduce))

    def close(self) -> None:
        """Release the file; a later read raises SlideUnreadableError or ctypes.ArgumentError."""
        self._handle.close()

    def _read(self, handle: openslide.OpenSlide, level: int, rect: Rect) -> Image.Image:
        downsample = self._openslide_downsamples[level]
        return handle.read_region(
            (round(rect.x * downsample), round(rect.y * downsample)), level, (rect.width, rect.height)
        )

    def _read_anew(self, broken: openslide.OpenSlide, level: int, rect: Rect) -> Image.Image:
        """Read through a handle of one's own, which replaces the broken one when these pixels are good.

        OpenSlide errors latch: once a read has failed, all later ones through that handle do. So the failure
        may be another thread's, and only one through a handle that nobody shares tells of these pixels.

        Raises:
            SlideUnreadableError: these pixels cannot be decoded.
        """
        try:
            fresh = openslide.OpenSlide(self._path)
            rgba = self._read(fresh, level, rect)
        except (openslide.OpenSlideError, OSError) as error:
            raise SlideUnreadableError(
                f"{self._path.name} has pixels that cannot be decoded ({error}). Send the file again."
            ) from error
        with self._replacing:
            if self._handle is broken:
                self._handle = fresh
        return rgba


def _on_white(rgba: Image.Image) -> Image.Image:
    """Blend RGBA pixels onto white: RGB."""
    alpha = rgba.getchannel("A")
    lowest, _highest = alpha.getextrema()
    if lowest == 255:
        return rgba.convert("RGB")
    canvas = Image.new("RGB", rgba.size, (255, 255, 255))
    canvas.paste(rgba, mask=alpha)
    return canvas
