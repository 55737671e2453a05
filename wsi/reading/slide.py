"""Open a slide: choose the reader and the pixel size, with a clear error for everything that is no slide."""

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import ImageCms

from ..errors import SlideLimitError, SlideUnreadableError
from ..geometry import Rect, Size
from .jpeg_tiles import JpegTileLevels
from .levels import LevelSource, PyramidSlide, level_downsamples
from .mpp import Pair, resolve_mpp
from .openslide_reader import OpenSlideLevels
from .plain_tiff import PlainTiffLevels
from .slide_info import SlideInfo
from .tiff_header import TiffHeader, TiffPage, check_slide_size, read_tiff_header

__all__ = ["Slide", "SlideInfo", "open_slide"]

MAX_PLAIN_PX = 2**27
"""Most pixels of a TIFF without tiles: no random access, one strip may be all of it (400 MB decoded)."""

DICOM_FRAME_BYTES = 8
"""Least bytes of a frame in a DICOM file: what stands before its pixels."""

_DIRECT_VENDORS = frozenset({"aperio", "generic-tiff"})
_KNOWN_FORMATS = (
    "SVS, NDPI, MRXS (with its folder), SCN, BIF, VMS, a DICOM WSI series or a tiled pyramidal TIFF"
)


class Slide(Protocol):
    """Open slide. A context manager; thread-safe."""

    @property
    def info(self) -> SlideInfo:
        """Format, size, levels and pixel size of the slide."""

    @property
    def icc_profile(self) -> bytes | None:
        """What the colours of the pixels mean, if the file says so; pixels are read as they are stored."""

    def read_region(self, region_l0: Rect, downsample: int) -> NDArray[np.uint8]:
        """Read a region, area-averaged over `downsample` l0 px a side.

        Returns (region.height // downsample, region.width // downsample, 3) RGB uint8. `region_l0` is in l0
        px, its sides multiples of `downsample`; it may lie partly or wholly outside the slide, where pixels
        are white. Read from the coarsest level that is at most 10 % too coarse. Never returns made-up pixels.

        Raises:
            ValueError: a side of the region is no multiple of `downsample`.
            SlideUnreadableError: pixels cannot be decoded.
        """

    def close(self) -> None:
        """Release the file."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_slide(path: Path, *, mpp: float | None = None) -> Slide:
    """Open a slide file, or the folder of one slide; `mpp` (um/px) overrules what the file says.

    TIFF headers are checked before a C library sees them, but OpenSlide may still abort the process on a
    hostile file: for untrusted files call `wsi.reading.inspect.inspect_slide` first.

    Raises:
        SlideUnreadableError: the file is absent, is no slide, is damaged, or is of a kind that is not read.
        SlideLimitError: the file claims sizes that should not be decoded.
        MppOutOfRangeError: `mpp` is senseless.
    """
    if path.is_dir():
        return _open_folder(path, mpp)
    if not path.is_file():
        raise SlideUnreadableError(f"{path.name} does not exist. Send the file again, or correct its name.")
    header = _header_of(path)
    try:
        handle = openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError as error:
        if header is None:
            raise SlideUnreadableError(
                f"{path.name} is no slide that can be read. Send {_KNOWN_FORMATS}."
            ) from error
        return _open_plain_tiff(path, header, mpp)
    except openslide.OpenSlideError as error:
        raise SlideUnreadableError(
            f"{path.name} is damaged ({error}). Send it again, or export it anew."
        ) from error
    return _open_recognised(path, handle, header, mpp)


def _header_of(path: Path) -> TiffHeader | None:
    try:
        return read_tiff_header(path)
    except OSError as error:
        raise SlideUnreadableError(f"{path.name} cannot be read: {error}.") from error


def _open_recognised(
    path: Path, handle: openslide.OpenSlide, header: TiffHeader | None, mpp: float | None
) -> Slide:
    properties = handle.properties
    vendor = properties[openslide.PROPERTY_NAME_VENDOR]
    sizes = tuple(Size(*size) for size in handle.level_dimensions)
    check_slide_size(sizes[0], path.name)
    _check_bits(path, header, sizes[0])
    _check_frames(path, _number(properties.get("dicom.NumberOfFrames")))
    # OpenSlide takes the mpp of a generic TIFF from its resolution tags; those rank below vendor properties.
    vendor_mpp = None if vendor == "generic-tiff" else _vendor_mpp(handle)
    objective_power = _number(properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER))
    pixel_size = resolve_mpp(
        request=mpp,
        vendor=vendor_mpp,
        ome=header.ome_mpp if header else None,
        tiff_resolution=header.resolution_mpp if header else None,
        objective_power=objective_power,
    )
    direct = _direct_levels(path, vendor, header, sizes)
    info = SlideInfo(
        vendor=vendor,
        reader="openslide" if direct is None else "tiff",
        size=sizes[0],
        level_downsamples=level_downsamples(sizes),
        mpp=pixel_size,
        objective_power=objective_power,
        bounds=_bounds(handle, sizes[0]),
    )
    icc_profile = _icc_profile(handle)
    if direct is None:
        return PyramidSlide(info, OpenSlideLevels(path, handle), icc_profile)
    handle.close()
    return PyramidSlide(info, direct, icc_profile)


def _check_bits(path: Path, header: TiffHeader | None, size: Size) -> None:
    """Check that the finest level of a TIFF has 8-bit samples: OpenSlide cuts others down without a word.

    Raises:
        SlideUnreadableError: it has others.
    """
    for page in header.pages if header else ():
        if page.tiled and page.size == size and not page.eight_bit:
            raise SlideUnreadableError(_other_kind(path, page))


def _check_frames(path: Path, frames: float | None) -> None:
    """Check that a DICOM series has the bytes for the frames it claims: its reader makes a table of them all.

    Raises:
        SlideLimitError: it has not.
    """
    if frames is None:
        return
    most = max(file.stat().st_size for file in path.parent.iterdir() if file.is_file()) / DICOM_FRAME_BYTES
    if frames > most:
        raise SlideLimitError(
            f"{path.name} has far too few bytes for the {frames:.0f} frames it claims. Send the whole series."
        )


def _other_kind(path: Path, page: TiffPage) -> str:
    return f"{path.name} has {page.kind}. Send 8-bit RGB or grey, in JPEG tiles or losslessly compressed."


def _direct_levels(
    path: Path, vendor: str, header: TiffHeader | None, sizes: tuple[Size, ...]
) -> LevelSource | None:
    """Return the levels of OpenSlide as JPEG-tiled TIFF pages, when all of them are; else None."""
    if header is None or vendor not in _DIRECT_VENDORS:
        return None
    pages: list[TiffPage] = []
    for size in sizes:
        matches = [page for page in header.pages if page.size == size and page.tiled]
        if len(matches) != 1 or matches[0].jpeg is None:
            return None
        pages += matches
    levels = JpegTileLevels(path, tuple(pages))
    if levels.is_decodable():
        return levels
    levels.close()
    return None


def _open_plain_tiff(path: Path, header: TiffHeader, mpp: float | None) -> Slide:
    """Open the first page of a TIFF that OpenSlide does not take: 8-bit RGB or grey of moderate size."""
    page = header.pages[0]
    if header.vendor_marks:
        raise SlideUnreadableError(
            f"{path.name} is a vendor or OME TIFF that cannot be read, or is damaged. Send the original, "
            "or convert it: vips tiffsave in.tif out.tif --tile --pyramid --compression jpeg"
        )
    if not page.lossless:
        raise SlideUnreadableError(_other_kind(path, page))
    if page.size.pixels > MAX_PLAIN_PX and not page.tiled:
        raise SlideLimitError(
            f"{path.name} has {page.size.width} x {page.size.height} px and is no tiled pyramid. Convert it: "
            "vips tiffsave in.tif out.tif --tile --pyramid --compression jpeg"
        )
    info = SlideInfo(
        vendor="plain-tiff",
        reader="tiff",
        size=page.size,
        level_downsamples=(1.0,),
        mpp=resolve_mpp(request=mpp, ome=header.ome_mpp, tiff_resolution=header.resolution_mpp),
        objective_power=None,
        bounds=Rect.of(page.size),
    )
    return PyramidSlide(info, PlainTiffLevels(path, page))


def _open_folder(folder: Path, mpp: float | None) -> Slide:
    """Open a DICOM series (its largest file that opens: the volume), or the one slide in a folder."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    formats = {file: _format_of(file) for file in files}
    series = [file for file in files if formats[file] == "dicom"]
    others = [file for file in files if formats[file] not in {None, "dicom"}]
    if len(others) + bool(series) != 1:
        found = ", ".join(file.name for file in [*others, *series][:5]) or "none"
        raise SlideUnreadableError(
            f"The folder {folder.name} must hold exactly one slide or DICOM series; found: {found}."
        )
    if others:
        return open_slide(others[0], mpp=mpp)
    failure: SlideUnreadableError | None = None
    for file in sorted(series, key=lambda file: (-file.stat().st_size, file.name)):
        try:
            return open_slide(file, mpp=mpp)
        except SlideUnreadableError as error:
            failure = failure or error
    raise SlideUnreadableError(f"No file of the DICOM series in {folder.name} opens.") from failure


def _format_of(file: Path) -> str | None:
    with file.open("rb") as opened:
        start = opened.read(132)
    if start[128:] == b"DICM":
        return "dicom"
    if start[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        return "tiff"
    detected: str | None = openslide.OpenSlide.detect_format(file)
    return detected


def _vendor_mpp(handle: openslide.OpenSlide) -> Pair | None:
    sides = [
        _number(handle.properties.get(name))
        for name in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)
    ]
    return None if sides[0] is None or sides[1] is None else (sides[0], sides[1])


def _icc_profile(handle: openslide.OpenSlide) -> bytes | None:
    """Return the profile of the slide's pixels; None without one, and for one that is damaged."""
    try:
        profile = handle.color_profile
    except ImageCms.PyCMSError:
        return None
    return None if profile is None else bytes(profile.tobytes())


def _bounds(handle: openslide.OpenSlide, size: Size) -> Rect:
    names = (
        openslide.PROPERTY_NAME_BOUNDS_X,
        openslide.PROPERTY_NAME_BOUNDS_Y,
        openslide.PROPERTY_NAME_BOUNDS_WIDTH,
        openslide.PROPERTY_NAME_BOUNDS_HEIGHT,
    )
    numbers = [_number(handle.properties.get(name)) for name in names]
    full = Rect.of(size)
    if any(number is None for number in numbers):
        return full
    bounds = Rect(*(int(number or 0) for number in numbers)).intersect(full)
    return full if bounds.is_empty else bounds


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
