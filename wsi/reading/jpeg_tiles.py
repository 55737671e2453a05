"""Read JPEG-tiled TIFFs directly: tiles handed to libjpeg as they are, much faster than through OpenSlide.

Decoding is strict. libvips goes on silently after damaged JPEG data, whatever its `fail_on` says; libjpeg's
own warnings, raised as errors here, show all damage that OpenSlide notices, and the pixels of both are the
same to the bit. Halves, quarters and eighths come from libjpeg's own scaled transform: faster than decoding
all and averaging, and within half a grey value of that on average.
"""

import math
import threading
from pathlib import Path

import numpy as np
import simplejpeg  # type: ignore[import-untyped, unused-ignore]
from numpy.typing import NDArray

from ..errors import SlideUnreadableError
from ..geometry import Rect, Size
from .levels import reduce_mean
from .tiff_header import JpegTiles, TiffPage

# Without this APP14 segment libjpeg would guess the colour space; TIFF says it. One more byte follows: 1 for
# YCbCr, else 0.
_ADOBE_SEGMENT = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
_START, _END = b"\xff\xd8", b"\xff\xd9"


class JpegTileLevels:
    """LevelSource over pages of one TIFF that all have `jpeg` tiles."""

    def __init__(self, path: Path, pages: tuple[TiffPage, ...]) -> None:
        self._name = path.name
        self._sizes = tuple(page.size for page in pages)
        self._tables = tuple(page.jpeg for page in pages if page.jpeg is not None)
        self._heads = tuple(_head(table) for table in self._tables)
        # One handle held open: the slide stays readable when its file is deleted under a running job.
        self._file = path.open("rb")
        self._lock = threading.Lock()

    @property
    def sizes(self) -> tuple[Size, ...]:
        """Size of each level, finest first."""
        return self._sizes

    def read(self, level: int, rect: Rect, reduce: int) -> NDArray[np.uint8]:
        """Read and decode the tiles under `rect`; the contract is that of LevelSource.read.

        Memory: the pixels of `rect`, as far reduced as libjpeg does it, and one tile.

        Raises:
            SlideUnreadableError: a tile cannot be decoded, or has another size than the header says.
        """
        side = self._tables[level].tile
        # What libjpeg scales are whole tiles; `rect` must begin at a pixel of theirs.
        scale = math.gcd(reduce, 8, side.width, side.height, rect.x, rect.y)
        wanted = Rect(*(edge // scale for edge in (rect.x, rect.y, rect.width, rect.height)))
        width, height = side.width // scale, side.height // scale
        pixels = np.empty((wanted.height, wanted.width, 3), np.uint8)
        for row in range(wanted.y // height, -(-wanted.bottom // height)):
            for column in range(wanted.x // width, -(-wanted.right // width)):
                tile = Rect(column * width, row * height, width, height)
                part = tile.intersect(wanted)
                decoded = self._decode(level, column, row, scale)
                to_x, to_y, from_x, from_y = (
                    part.x - wanted.x,
                    part.y - wanted.y,
                    part.x - tile.x,
                    part.y - tile.y,
                )
                pixels[to_y : to_y + part.height, to_x : to_x + part.width] = decoded[
                    from_y : from_y + part.height, from_x : from_x + part.width
                ]
        return reduce_mean(pixels, reduce // scale)

    def is_decodable(self) -> bool:
        """Return whether libjpeg-turbo takes the first tile of each level, coloured as the TIFF tags say.

        Only headers are looked at. A JFIF mark would overrule the tags, and rare subsamplings are not
        decoded; OpenSlide copes with both.
        """
        try:
            found = [
                simplejpeg.decode_jpeg_header(self._jpeg(level, 0, 0))[2]
                for level in range(len(self._tables))
            ]
        except ValueError:
            return False
        return all(space == table.colour_space for space, table in zip(found, self._tables, strict=True))

    def close(self) -> None:
        """Release the file; a later read raises SlideUnreadableError."""
        self._file.close()

    def _decode(self, level: int, column: int, row: int, scale: int) -> NDArray[np.uint8]:
        """Decode one tile at 1 / scale of its size: (H, W, 3) RGB."""
        side = self._tables[level].tile
        height, width = side.height // scale, side.width // scale
        try:
            # Of libjpeg's scales it takes the smallest that gives at least so many pixels.
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
                self._jpeg(level, column, row), "RGB", strict=True, min_height=height, min_width=width
            )
        except (ValueError, OSError) as error:
            raise SlideUnreadableError(
                f"Tile ({column}, {row}) of level {level} of {self._name} cannot be decoded ({error}). "
                "Send the file again, or export it anew."
            ) from error
        return pixels

    def _jpeg(self, level: int, column: int, row: int) -> bytes:
        """Return one tile as a whole JPEG file.

        Raises:
            ValueError: the data is no JPEG, or one of another size than the slide's header says.
        """
        table = self._tables[level]
        index = row * -(-self._sizes[level].width // table.tile.width) + column
        with self._lock:
            self._file.seek(int(table.offsets[index]))
            data = self._file.read(int(table.lengths[index]))
        if not data.startswith(_START):
            raise ValueError("it does not begin as a JPEG")
        jpeg = self._heads[level] + data[len(_START) :]
        # A tile of another size would be scaled to fit.
        if simplejpeg.decode_jpeg_header(jpeg)[:2] != (table.tile.height, table.tile.width):
            raise ValueError("it has another size than the slide's header says")
        return jpeg


def _head(table: JpegTiles) -> bytes:
    """Return the bytes that go before a tile's data: the tables all tiles share and the colour space."""
    shared = table.shared_tables.removesuffix(_END) or _START
    return shared + _ADOBE_SEGMENT + bytes([table.colour_space == "YCbCr"])
