"""Draw a picture of a labelled slide: thumbnail, labels in their colours, legend and scale bar."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .atomic import atomic_file
from .geometry import Rect, Size, ceil_div
from .grid import Grid
from .palette import LabelClass, Palette
from .reading.slide import Slide
from .reading.srgb import SrgbTransform
from .writing.label_tiff import LabelTiff

SIDE_PX = 1500
"""The picture is at most this wide and high."""

LABEL_OPACITY = 0.5

_STRIP_PX = 64
_MARGIN_PX, _LINE_PX, _FONT_PX = 16, 30, 18
_MIN_WIDTH_PX = 640
_MOST_CLASSES = 20
_INK, _GREY, _FRAME = (30, 30, 30), (110, 110, 110), (190, 190, 190)
_NOTICE = "Research use only, not for diagnosis"


def write_preview(
    slide: Slide,
    labels_path: Path,
    grid: Grid,
    palette: Palette,
    out: Path,
    *,
    counts: Sequence[int],
    title: str,
    progress: Callable[[float], None] = lambda _share: None,
) -> None:
    """Write a PNG of the whole slide under its labels, at most SIDE_PX wide and high.

    `counts` are the label pixels of each value. The slide is read in strips, so memory does not grow with it.

    Raises:
        SlideUnreadableError: the slide cannot be read.
        LabelTiffError: `labels.tif` cannot be read.
        OSError: the file cannot be written.
    """
    captions = _captions(palette, counts)
    below = _LINE_PX * (ceil_div(len(captions), 2) + 2) + _MARGIN_PX
    box = Size(SIDE_PX - 2 * _MARGIN_PX, SIDE_PX - below - _MARGIN_PX)
    downsample = max(ceil_div(grid.slide.width, box.width), ceil_div(grid.slide.height, box.height))
    picture = _thumbnail(slide, grid.slide, downsample, progress)
    _paint(picture, _picked(labels_path, grid, picture.shape[:2], downsample), palette)
    sheet = _sheet(Image.fromarray(picture), below)
    _legend(sheet, captions, title, top=picture.shape[0] + 2 * _MARGIN_PX)
    _scale_bar(sheet, grid.slide_mpp * downsample)
    with atomic_file(out) as temporary:
        sheet.save(temporary, "PNG")


def _thumbnail(
    slide: Slide, size_l0: Size, downsample: int, progress: Callable[[float], None]
) -> NDArray[np.uint8]:
    """Read the whole slide at `downsample`: (H, W, 3) sRGB."""
    width, height = ceil_div(size_l0.width, downsample), ceil_div(size_l0.height, downsample)
    picture = np.empty((height, width, 3), np.uint8)
    to_srgb = SrgbTransform(slide.icc_profile)
    for y in range(0, height, _STRIP_PX):
        strip = Rect(0, y, width, min(_STRIP_PX, height - y))
        picture[y : strip.bottom] = to_srgb(slide.read_region(strip.scaled(downsample), downsample))
        progress(strip.bottom / height)
    return picture


def _picked(labels_path: Path, grid: Grid, shape: tuple[int, ...], downsample: int) -> NDArray[np.uint8]:
    """Return the label under the middle of each px of the thumbnail: (H, W), 0 beyond the label map."""
    with LabelTiff(labels_path) as labels:
        fitting = [level for level in range(len(labels.sizes)) if grid.downsample << level <= downsample]
        level = max(fitting, default=0)
        values = labels.read(Rect.of(labels.sizes[level]), level)
    side_l0 = grid.downsample << level
    rows, columns = ((np.arange(length) * downsample + downsample // 2) // side_l0 for length in shape[:2])
    picked = np.zeros(shape[:2], np.uint8)
    inside_rows, inside_columns = rows < values.shape[0], columns < values.shape[1]
    picked[np.ix_(inside_rows, inside_columns)] = values[np.ix_(rows[inside_rows], columns[inside_columns])]
    return picked


def _paint(picture: NDArray[np.uint8], labels: NDArray[np.uint8], palette: Palette) -> None:
    """Lay the colours of the labels over the picture, in place."""
    labelled = labels > 0
    colours = palette.lookup()[labels[labelled]].astype(np.float32)
    mixed = picture[labelled] * (1 - LABEL_OPACITY) + colours * LABEL_OPACITY
    picture[labelled] = np.rint(mixed).astype(np.uint8)


def _captions(palette: Palette, counts: Sequence[int]) -> list[tuple[LabelClass, str]]:
    """Return each class of the legend with its name and share of the labelled pixels."""
    labelled = sum(counts[1:])
    if not labelled:
        return [(one, one.name) for one in palette.classes[:_MOST_CLASSES]]
    largest = sorted(palette.classes, key=lambda one: -counts[one.value])[:_MOST_CLASSES]
    return [
        (one, f"{100 * counts[one.value] / labelled:.1f} %  {one.name}")
        for one in palette.classes
        if one in largest
    ]


def _sheet(picture: Image.Image, below: int) -> Image.Image:
    """Return the picture on white, with a margin around it and room for the legend below."""
    width = max(_MIN_WIDTH_PX, picture.width + 2 * _MARGIN_PX)
    sheet = Image.new("RGB", (width, picture.height + _MARGIN_PX + below), "white")
    sheet.paste(picture, (_MARGIN_PX, _MARGIN_PX))
    right, bottom = _MARGIN_PX + picture.width, _MARGIN_PX + picture.height
    ImageDraw.Draw(sheet).rectangle((_MARGIN_PX - 1, _MARGIN_PX - 1, right, bottom), outline=_FRAME)
    return sheet


def _legend(sheet: Image.Image, captions: Sequence[tuple[LabelClass, str]], title: str, top: int) -> None:
    """Write title, classes in two columns, and the notice, from `top` on."""
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_PX)
    room = sheet.width // 2 - 2 * _MARGIN_PX - 24
    draw.text((_MARGIN_PX, top), _fitted(title, font, sheet.width - 2 * _MARGIN_PX), _INK, font)
    for number, (one, words) in enumerate(captions):
        row, column = divmod(number, 2)
        x, y = _MARGIN_PX + column * sheet.width // 2, top + (row + 1) * _LINE_PX
        draw.rectangle((x, y + 3, x + 16, y + 19), fill=one.colour, outline=_FRAME)
        draw.text((x + 24, y), _fitted(words, font, room), _INK, font)
    draw.text((_MARGIN_PX, sheet.height - _LINE_PX), _NOTICE, _GREY, font)


def _fitted(words: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: int) -> str:
    """Return the words, cut where they do not fit into `room` px."""
    if font.getlength(words) <= room:
        return words
    while words and font.getlength(words + "...") > room:
        words = words[:-1]
    return words + "..."


def _scale_bar(sheet: Image.Image, mpp: float) -> None:
    """Draw a bar of a round length, at most a fifth of the sheet, in the lower right corner."""
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_PX)
    longest_um = mpp * sheet.width / 5
    power = 10 ** math.floor(math.log10(longest_um))
    length_um = max(step * power for step in (1, 2, 5) if step * power <= longest_um)
    words = f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} um"
    right, y = sheet.width - _MARGIN_PX, sheet.height - _LINE_PX + _FONT_PX // 2
    left = right - round(length_um / mpp)
    draw.line((left, y, right, y), fill=_INK, width=3)
    draw.text((left - font.getlength(words) - 8, sheet.height - _LINE_PX), words, _INK, font)
