"""The fast road: JPEG tiles of a TIFF handed to libjpeg as they are, about ten times the speed of OpenSlide.

Decoding is strict. libvips goes on silently after damaged JPEG data, whatever its `fail_on` says (58 of 60 damaged
copies of an Aperio slide gave wrong pixels and no error); libjpeg's own warnings, raised as errors here, show all damage
that OpenSlide notices, and the pixels of both are the same to the bit.
"""

import threading
from pathlib import Path

import numpy as np
import simplejpeg  # type: ignore[import-untyped, unused-ignore]
from numpy.typing import NDArray

from .errors import SlideUnreadableError
from .geometry import Rect, Size
from .levels import reduce_mean
from .tiff_header import JpegTiles, TiffPage

# Without this APP14 segment libjpeg would guess the colour space; TIFF says it. The last byte is 1 for YCbCr, else 0.
_ADOBE_SEGMENT = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
_START, _END = b"\xff\xd8", b"\xff\xd9"


class JpegTileLevels:
    """A LevelSource over pages of one TIFF that all have `jpeg` tiles. Raises SlideUnreadableError when made of others."""

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
        """See LevelSource.read. Memory: the pixels of `rect` and one tile."""
        table = self._tables[level]
        side = table.tile
        pixels = np.empty((rect.height, rect.width, 3), np.uint8)
        for row in range(rect.y // side.height, -(-rect.bottom // side.height)):
            for column in range(rect.x // side.width, -(-rect.right // side.width)):
                tile = Rect(column * side.width, row * side.height, side.width, side.height)
                part = tile.intersect(rect)
                decoded = self._decode(level, column, row)
                to_x, to_y, from_x, from_y = (
                    part.x - rect.x,
                    part.y - rect.y,
                    part.x - tile.x,
                    part.y - tile.y,
                )
                pixels[to_y : to_y + part.height, to_x : to_x + part.width] = decoded[
                    from_y : from_y + part.height, from_x : from_x + part.width
                ]
        return reduce_mean(pixels, reduce)

    def is_decodable(self) -> bool:
        """Whether the first tile of each level has a header libjpeg-turbo takes, with the colour space of the TIFF tags.

        A JFIF mark would overrule the tags, and rare subsamplings are not decoded; OpenSlide copes with both.
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

    def _decode(self, level: int, column: int, row: int) -> NDArray[np.uint8]:
        side = self._tables[level].tile
        try:
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
                self._jpeg(level, column, row), "RGB", strict=True
            )
        except (ValueError, OSError) as error:
            raise SlideUnreadableError(
                f"Tile ({column}, {row}) of level {level} of {self._name} cannot be decoded ({error}). "
                "Send the file again, or export it anew."
            ) from error
        if pixels.shape != (side.height, side.width, 3):
            raise SlideUnreadableError(
                f"Tile ({column}, {row}) of level {level} of {self._name} has another size than the header says. "
                "Export the slide anew."
            )
        return pixels

    def _jpeg(self, level: int, column: int, row: int) -> bytes:
        """One tile as a whole JPEG file."""
        table = self._tables[level]
        index = row * -(-self._sizes[level].width // table.tile.width) + column
        with self._lock:
            self._file.seek(int(table.offsets[index]))
            data = self._file.read(int(table.lengths[index]))
        if not data.startswith(_START):
            raise ValueError("it does not begin as a JPEG")
        return self._heads[level] + data[len(_START) :]


def _head(table: JpegTiles) -> bytes:
    """What goes before a tile's data: the tables all tiles share (an abbreviated JPEG) and the colour space."""
    shared = table.shared_tables.removesuffix(_END) or _START
    return shared + _ADOBE_SEGMENT + bytes([table.colour_space == "YCbCr"])
