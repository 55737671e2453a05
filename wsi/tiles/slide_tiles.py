"""Make JPEG tiles and thumbnails of an open slide, on the pixels that the network reads."""

import numpy as np
import simplejpeg  # type: ignore[import-untyped, unused-ignore]

from ..errors import SlideLimitError
from ..geometry import Rect, ceil_div
from ..reading.levels import LEVEL_TOLERANCE
from ..reading.slide import Slide
from ..reading.srgb import SrgbTransform
from .levels import level_size, tile_rect

JPEG_QUALITY = 85

MAX_SOURCE_PX = 2**30
"""Pixels decoded for one tile at most, some ten seconds: only huge slides without coarse levels need more."""


class SlideTiles:
    """JPEGs of an open slide, in sRGB where its file says what its colours mean."""

    def __init__(self, slide: Slide) -> None:
        self._slide = slide
        self._to_srgb = SrgbTransform(slide.icc_profile)

    def tile(self, level: int, column: int, row: int) -> bytes:
        """Return a tile as JPEG: 512 px square, less at the right and lower edge.

        A pixel of level k is the mean of 2^k x 2^k l0 px, aligned at the slide's origin as labels are.

        Raises:
            SlideLimitError: too many pixels would have to be decoded.
            SlideUnreadableError: pixels cannot be decoded.
        """
        whole = Rect.of(level_size(self._slide.info.size, level))
        return self._jpeg(tile_rect(column, row).intersect(whole), 1 << level)

    def thumbnail(self, side_px: int) -> bytes:
        """Return the whole slide as JPEG, its longest side at most `side_px`. Its label image plays no part.

        Raises:
            SlideLimitError: too many pixels would have to be decoded.
            SlideUnreadableError: pixels cannot be decoded.
        """
        size = self._slide.info.size
        downsample = ceil_div(max(size.width, size.height), side_px)
        return self._jpeg(
            Rect(0, 0, ceil_div(size.width, downsample), ceil_div(size.height, downsample)), downsample
        )

    def close(self) -> None:
        """Close the slide."""
        self._slide.close()

    def _jpeg(self, rect: Rect, downsample: int) -> bytes:
        """Return a rectangle of px of `downsample` l0 px as JPEG."""
        levels = [
            level for level in self._slide.info.level_downsamples if level <= downsample * LEVEL_TOLERANCE
        ]
        if rect.size.pixels * (downsample / max(levels, default=1)) ** 2 > MAX_SOURCE_PX:
            raise SlideLimitError(
                "The slide has no levels coarse enough for an overview. Zoom in, or convert it: "
                "vips tiffsave in.tif out.tif --tile --pyramid --compression jpeg"
            )
        pixels = self._to_srgb(self._slide.read_region(rect.scaled(downsample), downsample))
        jpeg: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), JPEG_QUALITY, "RGB", "420")
        return jpeg
