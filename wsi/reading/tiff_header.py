"""Check the header of a TIFF before any C library touches the file.

OpenSlide aborts the process on absurd tile sizes and believes any dimensions. So sizes, tables and offsets
are checked here first, and what the direct JPEG reader needs is taken along.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from ..errors import SlideLimitError, SlideUnreadableError
from ..geometry import Size
from .mpp import Pair
from .ome import ome_mpp

MAX_TILE_PX = 8192
"""Longest side of a TIFF tile. OpenSlide allocates a whole tile and aborts the process when it cannot."""

MAX_SIDE_PX = 1_000_000
MAX_PIXELS = 100_000_000_000
"""Most pixels of a level: twice the largest slides of today; a quarter of an hour to decode at 100 MP/s."""

MAX_PIXELS_PER_BYTE = 4_000
"""Most pixels per byte of file.

Blank glass takes a byte for some 60 px as JPEG and for 1000 px deflated; what claims more is a decompression
bomb.
"""

MAX_PAGES = 512

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_UM_PER_UNIT = {2: 25_400.0, 3: 10_000.0}  # TIFF ResolutionUnit: inch, centimetre
_COLOURS = {1: "Gray", 2: "RGB", 6: "YCbCr"}  # TIFF PhotometricInterpretation
_JPEG = 7  # TIFF Compression
_LOSSLESS = frozenset({1, 5, 8, 32946})  # none, LZW, deflate (two numbers)

# What tifffile raises on hostile bytes besides its own error.
_PARSE_ERRORS = (
    tifffile.TiffFileError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    struct.error,
    MemoryError,
    RecursionError,
)


@dataclass(frozen=True, slots=True)
class JpegTiles:
    """Byte ranges and coding of the JPEG tiles of a page."""

    tile: Size
    offsets: NDArray[np.uint64]
    """Of each tile, row-major, in bytes from the start of the file."""
    lengths: NDArray[np.uint64]
    shared_tables: bytes
    """Abbreviated JPEG with the tables of all tiles (tag JPEGTables); empty when each tile has its own."""
    colour_space: str
    """"RGB", "YCbCr" or "Gray", as the tags say."""


@dataclass(frozen=True, slots=True)
class TiffPage:
    """Image directory (IFD) of a TIFF."""

    index: int
    size: Size
    tiled: bool
    jpeg: JpegTiles | None
    """Set when it is 8-bit RGB or grey in JPEG tiles and none of them is missing."""
    eight_bit: bool
    """Whether a sample has 8 bits."""
    lossless: bool
    """Whether it is 8-bit RGB or grey, plain or losslessly compressed, with no strip missing."""
    kind: str
    """Bits, samples and compression in words, for messages."""


@dataclass(frozen=True, slots=True)
class TiffHeader:
    """Header of a TIFF, read without decoding a pixel."""

    pages: tuple[TiffPage, ...]
    resolution_mpp: Pair | None
    """um/px by XResolution/YResolution of the first page, unchecked."""
    ome_mpp: Pair | None
    """um/px by OME-XML in the first page's description, unchecked."""
    vendor_marks: bool
    """Whether it carries marks of a vendor format, so that its first page alone may mislead."""


def read_tiff_header(path: Path) -> TiffHeader | None:
    """Read and check the header of a TIFF; None when the file is no TIFF.

    Raises:
        SlideUnreadableError: the file is empty, damaged or truncated.
        SlideLimitError: tiles, sides, pixels or pages are beyond the limits, or the file is far too small for
            the pixels it claims.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if not magic:
            raise SlideUnreadableError(f"{path.name} is empty. Send the file again.")
        if magic not in _MAGIC:
            return None
        with tifffile.TiffFile(path) as tiff:
            return _read(tiff, path)
    except _PARSE_ERRORS as error:
        raise SlideUnreadableError(
            f"{path.name} is a damaged TIFF ({error}). Send the file again, "
            "or export it from the scanner once more."
        ) from error


def check_slide_size(size: Size, name: str) -> None:
    """Check that a slide may have these dimensions.

    Raises:
        SlideUnreadableError: a side is below 1 px.
        SlideLimitError: sides or pixels are beyond the limits.
    """
    if size.width < 1 or size.height < 1:
        raise SlideUnreadableError(f"{name} says it is {size.width} x {size.height} px. Export it once more.")
    if max(size.width, size.height) > MAX_SIDE_PX or size.pixels > MAX_PIXELS:
        raise SlideLimitError(
            f"{name} claims {size.width} x {size.height} px; the limit is {MAX_PIXELS:.0e} px "
            f"and {MAX_SIDE_PX} px a side. Send a part of the slide."
        )


def _read(tiff: tifffile.TiffFile, path: Path) -> TiffHeader:
    pages: list[TiffPage] = []
    vendor_marks = False
    resolution = ome = None
    for index, page in enumerate(tiff.pages):
        if index >= MAX_PAGES:
            raise SlideLimitError(f"{path.name} has more than {MAX_PAGES} pages. Send one slide a file.")
        assert isinstance(page, tifffile.TiffPage)
        pages.append(_checked_page(page, index, path))
        if index == 0:
            resolution = _resolution_mpp(page)
            ome = ome_mpp(page.description)
            vendor_marks = _has_vendor_marks(page)
    if not pages:
        raise SlideUnreadableError(
            f"{path.name} is truncated: it has no image directory. Send the file again."
        )
    return TiffHeader(tuple(pages), resolution, ome, vendor_marks)


def _checked_page(page: tifffile.TiffPage, index: int, path: Path) -> TiffPage:
    size = Size(page.imagewidth, page.imagelength)
    check_slide_size(size, path.name)
    file_bytes = page.parent.filehandle.size
    if size.pixels > MAX_PIXELS_PER_BYTE * file_bytes:
        raise SlideLimitError(
            f"{path.name} has {file_bytes} bytes, far too few for the {size.width} x {size.height} px "
            "it claims. Send the whole file, or a real slide."
        )
    # Hamamatsu pages have no tile tags; tifffile makes up tiles for them.
    tiled = "TileWidth" in page.tags
    if tiled and not (0 < page.tilewidth <= MAX_TILE_PX and 0 < page.tilelength <= MAX_TILE_PX):
        raise SlideLimitError(
            f"{path.name} has tiles of {page.tilewidth} x {page.tilelength} px; "
            f"the limit is {MAX_TILE_PX}. Write it again with tiles of 256 or 512 px."
        )
    offsets, lengths = np.asarray(page.dataoffsets, np.uint64), np.asarray(page.databytecounts, np.uint64)
    if tiled:
        _check_tile_table(page, size, offsets, lengths, path)
    spec = (page.bitspersample, page.samplesperpixel, int(page.planarconfig))
    colours = _COLOURS.get(int(page.photometric)) if spec in {(8, 3, 1), (8, 1, 1)} else None
    whole = colours is not None and bool(lengths.min(initial=1) > 0)
    jpeg = None
    if colours is not None and whole and tiled and int(page.compression) == _JPEG:
        jpeg = JpegTiles(
            Size(page.tilewidth, page.tilelength), offsets, lengths, page.jpegtables or b"", colours
        )
    return TiffPage(
        index=index,
        size=size,
        tiled=tiled,
        jpeg=jpeg,
        eight_bit=page.bitspersample == 8,
        lossless=whole and int(page.compression) in _LOSSLESS,
        kind=f"{page.samplesperpixel} x {page.bitspersample} bit, compression {int(page.compression)}",
    )


def _check_tile_table(
    page: tifffile.TiffPage, size: Size, offsets: NDArray[np.uint64], lengths: NDArray[np.uint64], path: Path
) -> None:
    """Check that every tile is listed and lies inside the file.

    Raises:
        SlideUnreadableError: the table is short or points past the end of the file.
    """
    columns = -(-size.width // page.tilewidth)
    rows = -(-size.height // page.tilelength)
    planes = page.samplesperpixel if int(page.planarconfig) == 2 else 1
    if len(offsets) != len(lengths) or len(offsets) < columns * rows * planes:
        raise SlideUnreadableError(f"{path.name} lists fewer tiles than it has. Send the file again.")
    if (offsets + lengths).max() > page.parent.filehandle.size:
        raise SlideUnreadableError(
            f"{path.name} is truncated: tiles lie beyond its end. Send the file again."
        )


def _resolution_mpp(page: tifffile.TiffPage) -> Pair | None:
    unit = page.tags.valueof("ResolutionUnit", default=2)
    um = _UM_PER_UNIT.get(int(unit))
    values = [page.tags.valueof(name) for name in ("XResolution", "YResolution")]
    if um is None or not all(isinstance(value, tuple) and len(value) == 2 and all(value) for value in values):
        return None
    (x, x_parts), (y, y_parts) = values
    return um * x_parts / x, um * y_parts / y


def _has_vendor_marks(page: tifffile.TiffPage) -> bool:
    tags = (page.tags.valueof(name, default="") for name in ("Software", "Make"))
    text = " ".join(str(value) for value in (page.description, *tags))
    return any(
        mark in text.lower()
        for mark in ("aperio", "<?xml", "<ome", "philips", "hamamatsu", "medscan", "leica")
    )
