"""Read label TIFFs back (`labels.tif`, `overlay.tif` and truths): the class values of any rectangle."""

import json
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import tifffile
from numpy.typing import NDArray

from ..errors import LabelTiffError
from ..geometry import Rect, Size, ceil_div
from ..grid import TILE_PX

_BROKEN_FILE_ERRORS = (
    tifffile.TiffFileError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    NotImplementedError,
    struct.error,
    zlib.error,
)
_REDUCED = 1  # TIFF NewSubfileType
_ADVICE = "Give labels.tif or a truth of the same kind: one 8-bit channel whose value is the class."


class LabelTiff:
    """Open label map: 8-bit grey or palette TIFF, tiled or in strips, value = class, 0 = none.

    A context manager. Thread-safe: one file handle is read under a lock, decoding runs outside it. Deflate
    tiles are read with their checksum; libvips leaves it out and can pass a flipped bit on as other labels.
    Memory: what is asked for, and one tile or strip.
    """

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            LabelTiffError: it cannot be read or is no label map; the message says what to give instead.
        """
        self.name = path.name
        self._lock = threading.Lock()
        try:
            self._file = tifffile.TiffFile(path)
        except _BROKEN_FILE_ERRORS as error:
            raise LabelTiffError(
                f"{path.name} cannot be read as a TIFF ({_one_line(error)}). {_ADVICE}"
            ) from error
        try:
            self._pages = self._levels()
            self.sizes = tuple(Size(page.imagewidth, page.imagelength) for page in self._pages)
            """Px of each level, finest first. Levels in SubIFDs are not listed."""
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    @property
    def size(self) -> Size:
        """Px of level 0."""
        return self.sizes[0]

    @property
    def description(self) -> Mapping[str, Any]:
        """The JSON object in the file's ImageDescription, which says what made it; empty without one."""
        try:
            data = json.loads(self._pages[0].description)
        except ValueError:
            return {}
        return data if isinstance(data, dict) else {}

    def read(self, rect: Rect, level: int = 0) -> NDArray[np.uint8]:
        """Read the values of a rectangle in px of the level: a new (H, W) uint8 array; 0 outside the map.

        Raises:
            LabelTiffError: a tile cannot be decoded.
        """
        page = self._pages[level]
        labels = np.zeros((rect.height, rect.width), np.uint8)
        inside = rect.intersect(Rect.of(self.sizes[level]))
        if inside.is_empty:
            return labels
        rows, columns = page.chunks
        for row in range(inside.y // rows, ceil_div(inside.bottom, rows)):
            for column in range(inside.x // columns, ceil_div(inside.right, columns)):
                chunk = self._chunk(page, row * page.chunked[1] + column)
                if chunk is not None:
                    chunk_rect = Rect(column * columns, row * rows, chunk.shape[1], chunk.shape[0])
                    _paste(chunk, chunk_rect, labels, rect, inside)
        return labels

    def bands(self, level: int = 0) -> Iterator[tuple[Rect, NDArray[np.uint8]]]:
        """Yield the whole level from top to bottom, decoded once: (px of the level, values (H, W)).

        A band is about 512 rows; where the file has higher strips, one strip.

        Raises:
            LabelTiffError: a tile cannot be decoded.
        """
        rows, _ = self._pages[level].chunks
        height = max(1, TILE_PX // rows) * rows
        for y in range(0, self.sizes[level].height, height):
            band = Rect(0, y, self.sizes[level].width, min(height, self.sizes[level].height - y))
            yield band, self.read(band, level)

    def overview(self, side_px: int) -> NDArray[np.uint8]:
        """Return the map at most `side_px` wide and high; pixels are picked, not mixed.

        It is made from the coarsest level with enough pixels.

        Raises:
            LabelTiffError: a tile cannot be decoded.
        """
        enough = [k for k, size in enumerate(self.sizes) if max(size.width, size.height) >= side_px]
        level = enough[-1] if enough else 0
        step = max(1, ceil_div(max(self.sizes[level].width, self.sizes[level].height), side_px))
        middle = min(step // 2, self.sizes[level].height - 1, self.sizes[level].width - 1)
        rows = [band[(middle - rect.y) % step :: step, middle::step] for rect, band in self.bands(level)]
        return np.ascontiguousarray(np.concatenate(rows))

    def _levels(self) -> list[tifffile.TiffPage]:
        """Return the pages of the pyramid, finest first.

        Raises:
            LabelTiffError: the first page is no label map, or the file is damaged.
        """
        try:
            pages = [page.aspage() for page in self._file.pages]
            first, reduced = pages[0], [page for page in pages[1:] if page.subfiletype & _REDUCED]
            levels = [first, *(page for page in reduced if _flaw(page) is None)]
        except _BROKEN_FILE_ERRORS as error:
            raise self._damaged(error) from error
        flaw = _flaw(first)
        if flaw is not None:
            raise LabelTiffError(f"{self.name} has {flaw}. {_ADVICE}")
        return levels

    def _chunk(self, page: tifffile.TiffPage, index: int) -> NDArray[np.uint8] | None:
        """Decode one tile or strip: (rows, columns); None where the file stores none.

        Raises:
            LabelTiffError: it cannot be read or decoded.
        """
        try:
            offset, length = page.dataoffsets[index], page.databytecounts[index]
            if length == 0:
                return None
            with self._lock:
                self._file.filehandle.seek(offset)
                encoded = self._file.filehandle.read(length)
            if len(encoded) != length:
                raise ValueError(f"it ends before tile {index}")
            decoded, _, shape = page.decode(encoded, index)
        except _BROKEN_FILE_ERRORS as error:
            raise self._damaged(error) from error
        assert decoded is not None
        chunk: NDArray[np.uint8] = decoded[0, : shape[1], : shape[2], 0]
        return chunk

    def _damaged(self, error: Exception) -> LabelTiffError:
        return LabelTiffError(
            f"{self.name} is damaged ({_one_line(error)}). Download it again, or make it again."
        )


def _paste(
    chunk: NDArray[np.uint8], chunk_rect: Rect, labels: NDArray[np.uint8], rect: Rect, inside: Rect
) -> None:
    """Copy what a chunk lying at `chunk_rect` has of `inside` into `labels`, which lie at `rect`."""
    part = chunk_rect.intersect(inside)
    source, target = part.moved(-chunk_rect.x, -chunk_rect.y), part.moved(-rect.x, -rect.y)
    labels[target.y : target.bottom, target.x : target.right] = chunk[
        source.y : source.bottom, source.x : source.right
    ]


def _flaw(page: tifffile.TiffPage) -> str | None:
    """Say what keeps a page from being a label map; None when it is one."""
    photometric = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.PALETTE)
    if page.samplesperpixel != 1 or page.dtype != np.uint8 or page.photometric not in photometric:
        kind = getattr(page.photometric, "name", page.photometric)
        return f"{page.samplesperpixel} channel(s) of {page.dtype} ({kind})"
    try:
        tifffile.TIFF.DECOMPRESSORS[page.compression]
    except (KeyError, ImportError):
        name = getattr(page.compression, "name", page.compression)
        return f"{name} compression: install imagecodecs with pip, or rewrite the file with deflate"
    return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
