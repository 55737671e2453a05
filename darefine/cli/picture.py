"""Side-by-side picture of slide, truth and overlays."""

from collections.abc import Sequence
from pathlib import Path

import openslide
from PIL import Image, ImageDraw, ImageFont

from wsi.palette import Palette

PANEL_PX = 560
MARGIN_PX = 14
TITLE_PX = 34
INK = (30, 30, 30)


def side_by_side(
    panels: Sequence[tuple[str, Image.Image]], palette: Palette, caption: str, out: Path
) -> None:
    """Write a PNG of titled panels in a row, with class colours and a caption below."""
    width = MARGIN_PX + len(panels) * (PANEL_PX + MARGIN_PX)
    height = TITLE_PX + max(image.height for _, image in panels) + 2 * TITLE_PX + MARGIN_PX
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(18)
    for i, (title, image) in enumerate(panels):
        x = MARGIN_PX + i * (PANEL_PX + MARGIN_PX)
        draw.text((x, 8), title, INK, font)
        sheet.paste(image, (x, TITLE_PX))
        draw.rectangle(
            (x - 1, TITLE_PX - 1, x + image.width, TITLE_PX + image.height), outline=(190, 190, 190)
        )
    y = height - 2 * TITLE_PX
    x = MARGIN_PX
    for label in palette.classes:
        draw.rectangle((x, y + 3, x + 16, y + 19), fill=label.colour)
        draw.text((x + 24, y), label.name, INK, font)
        x += 44 + int(draw.textlength(label.name, font))
    draw.text((MARGIN_PX, y + TITLE_PX - 4), caption, INK, font)
    sheet.save(out)


def slide_panel(path: Path) -> Image.Image:
    """Return a thumbnail of a slide, at most PANEL_PX wide and high."""
    with openslide.OpenSlide(path) as slide:
        return slide.get_thumbnail((PANEL_PX, PANEL_PX)).convert("RGB")


def overlay_panel(path: Path) -> Image.Image:
    """Return a thumbnail of an overlay in its colours, at most PANEL_PX wide and high.

    It is reduced by nearest neighbour, so that no colour is made up.
    """
    with openslide.OpenSlide(path) as overlay:
        level = overlay.get_best_level_for_downsample(max(overlay.dimensions) / PANEL_PX)
        image = overlay.read_region((0, 0), level, overlay.level_dimensions[level]).convert("RGB")
    image.thumbnail((PANEL_PX, PANEL_PX), Image.Resampling.NEAREST)
    return image
