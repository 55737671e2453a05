"""Read losslessly compressed TIFFs that OpenSlide does not take, through libvips.

They are tiled, or untiled and of moderate size.
"""

from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray

from ..errors import SlideUnreadableError
from ..geometry import Rect, Size
from .tiff_header import TiffPage


class PlainTiffLevels:
    """LevelSource of one level: a losslessly compressed 8-bit page, checked by `tiff_header`."""

    def __init__(self, path: Path, page: TiffPage) -> None:
        """Open the page.

        Raises:
            SlideUnreadableError: libvips cannot open it.
        """
        # libvips keeps recent operations by file name: files would stay open, a replaced one show old pixels.
        pyvips.cache_set_max(0)
        self._name = path.name
        self._sizes = (page.size,)
        try:
            self._image = pyvips.Image.tiffload(
                str(path), page=page.index, access="random", fail_on="warning"
            )
        except pyvips.Error as error:
            raise self._unreadable(error) from error

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The size of the page."""
        return self._sizes

    def read(self, level: int, rect: Rect, reduce: int) -> NDArray[np.uint8]:
        """Read a rectangle of the page; the contract is that of LevelSource.read, and `level` is 0.

        Raises:
            SlideUnreadableError: pixels cannot be decoded.
        """
        assert level == 0
        try:
            image = self._image.crop(rect.x, rect.y, rect.width, rect.height)
            pixels: NDArray[np.uint8] = (image if reduce == 1 else image.shrink(reduce, reduce)).numpy()
        except pyvips.Error as error:
            raise self._unreadable(error) from error
        bands = pixels.reshape(*pixels.shape[:2], -1)
        return bands if bands.shape[2] == 3 else np.repeat(bands, 3, axis=2)

    def close(self) -> None:
        """Do nothing: libvips closes the file with the last reference."""

    def _unreadable(self, error: pyvips.Error) -> SlideUnreadableError:
        cause = " ".join(str(error).split())
        return SlideUnreadableError(
            f"{self._name} has pixels that cannot be decoded ({cause}). Send the file again."
        )
