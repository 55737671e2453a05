"""The road for every vendor format: pixels through OpenSlide."""

import logging
import threading
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image

from .errors import SlideUnreadableError
from .geometry import Rect, Size

logger = logging.getLogger(__name__)


class OpenSlideLevels:
    """A LevelSource over an OpenSlide handle, which it owns."""

    def __init__(self, path: Path, handle: openslide.OpenSlide) -> None:
        self._path = path
        self._handle = handle
        self._sizes = tuple(Size(*size) for size in handle.level_dimensions)
        # OpenSlide's own float, not our snapped one: it is what read_region divides the location by.
        self._own_downsamples: tuple[float, ...] = handle.level_downsamples
        self._reopening = threading.Lock()

    @property
    def sizes(self) -> tuple[Size, ...]:
        """Size of each level, finest first."""
        return self._sizes

    def read(self, level: int, rect: Rect, reduce: int) -> NDArray[np.uint8]:
        """See LevelSource.read. Pixels that no tile covers are transparent in OpenSlide and become white."""
        own = self._own_downsamples[level]
        handle = self._handle
        try:
            rgba = handle.read_region(
                (round(rect.x * own), round(rect.y * own)), level, (rect.width, rect.height)
            )
        except openslide.OpenSlideError as error:
            self._replace(handle)
            raise SlideUnreadableError(
                f"{self._path.name} has pixels that cannot be decoded ({error}). Send the file again."
            ) from error
        image = _on_white(rgba)
        return np.asarray(image if reduce == 1 else image.reduce(reduce))

    def close(self) -> None:
        """Release the file; a later read raises SlideUnreadableError or ctypes.ArgumentError."""
        self._handle.close()

    def _replace(self, broken: openslide.OpenSlide) -> None:
        """OpenSlide errors latch: after one failed read all later ones fail, so a new handle takes over."""
        with self._reopening:
            if self._handle is not broken:
                return
            try:
                self._handle = openslide.OpenSlide(self._path)
            except (openslide.OpenSlideError, OSError):
                logger.warning("%s could not be opened again after a failed read", self._path.name)


def _on_white(rgba: Image.Image) -> Image.Image:
    alpha = rgba.getchannel("A")
    lowest, _highest = alpha.getextrema()
    if lowest == 255:
        return rgba.convert("RGB")
    canvas = Image.new("RGB", rgba.size, (255, 255, 255))
    canvas.paste(rgba, mask=alpha)
    return canvas
