"""Picture docs/where-to-look.jpg: what the search for tissue leaves out, also ink and a black border.

`python -m benchmarks.mask_picture` puts a slide on more glass, draws strokes of pens and a black border onto
it, and shows the mask; with --as-it-is the slide stays as it is.
"""

import tempfile
from pathlib import Path

import click
import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from wsi.geometry import Rect
from wsi.grid import InputGeometry, make_grid
from wsi.phantom import write_phantom
from wsi.reading.slide import open_slide
from wsi.tissue import TissueMask, find_tissue

OUT = Path(__file__).parents[1] / "docs" / "where-to-look.jpg"

CARD = InputGeometry(mpp=0.934, context_ratio=5, slices_per_side=5, halo_px=64)
"""Of the demo weights."""

GLASS = 243
PENS = (
    ((40, 80, 185), 0.065, ((0.05, 0.16), (0.16, 0.08), (0.37, 0.13), (0.71, 0.08))),
    ((40, 130, 100), 0.05, ((0.08, 0.80), (0.24, 0.88), (0.46, 0.66))),
    ((55, 55, 60), 0.055, ((0.88, 0.24), (0.91, 0.64), (0.78, 0.92))),
)
"""Colour on glass, width and points of each stroke, as shares of the picture."""

SHOWN_PX = 1400
"""Longest side of the picture."""

LEFT_OUT = 0.72
"""Brightness of what is left out."""

Pixels = NDArray[np.uint8]


def with_ink(pixels: Pixels) -> Pixels:
    """Return a slide (H, W, 3) on more glass at its sides, with strokes of pens and a black border."""
    height, width = pixels.shape[:2]
    around = ((height // 8, height // 8), (width // 3, width // 3), (0, 0))
    wide = np.pad(pixels, around, constant_values=GLASS)
    size = np.array([wide.shape[1], wide.shape[0]])
    for colour, share, points in PENS:
        stroke = np.zeros(wide.shape[:2], np.float32)
        line = np.rint(np.array(points) * size).astype(np.int32)
        cv2.polylines(stroke, [line], False, (1.0,), round(share * size.min()), cv2.LINE_AA)
        stroke = np.asarray(cv2.GaussianBlur(stroke, (0, 0), size.min() / 500), np.float32)[..., None]
        wide = np.rint(wide * (1 - stroke * (1 - np.array(colour) / GLASS))).astype(np.uint8)
    wide[:, -round(size[0] / 50) :] = wide[-round(size[1] / 60) :] = 6
    return wide


def picture(pixels: Pixels, tissue: TissueMask) -> Pixels:
    """Return a slide's level 0 made smaller, what is left out darker, and the outline of the mask."""
    height, width = pixels.shape[:2]
    scale = min(1.0, SHOWN_PX / max(height, width))
    size = (round(width * scale), round(height * scale))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.float64)
    rows = np.minimum(np.arange(size[1]) / scale // tissue.downsample, tissue.mask.shape[0] - 1)
    columns = np.minimum(np.arange(size[0]) / scale // tissue.downsample, tissue.mask.shape[1] - 1)
    mask = tissue.mask[rows.astype(int)][:, columns.astype(int)].astype(np.uint8)
    small[mask == 0] *= LEFT_OUT
    shown = np.rint(small).astype(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(shown, outlines, -1, (0, 150, 40), 2, cv2.LINE_AA)
    return shown


def searched(pixels: Pixels, mpp: float) -> TissueMask:
    """Return the tissue mask of a slide with these pixels."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.tif"
        per_cm = 1e4 / mpp
        tifffile.imwrite(
            path,
            pixels,
            tile=(512, 512),
            photometric="rgb",
            resolution=(per_cm, per_cm),
            resolutionunit="CENTIMETER",
        )
        with open_slide(path) as slide:
            return find_tissue(slide, make_grid(slide.info.size, mpp, CARD))


@click.command()
@click.option("--slide", type=click.Path(exists=True, path_type=Path), help="[default: a phantom]")
@click.option("--as-it-is", is_flag=True, help="Draw no ink and no border onto the slide.")
@click.option("--out", type=click.Path(path_type=Path), default=OUT, show_default=True)
def main(slide: Path | None, as_it_is: bool, out: Path) -> None:
    """Draw the tissue mask of a slide that fits in memory."""
    with tempfile.TemporaryDirectory() as folder:
        if slide is None:
            slide = Path(folder) / "phantom.tif"
            write_phantom(slide, size_px=4096, seed=2)
        with open_slide(slide) as opened:
            pixels = opened.read_region(Rect.of(opened.info.size), 1)
            mpp = opened.info.mpp.value if opened.info.mpp else CARD.mpp
    shown = pixels if as_it_is else with_ink(pixels)
    tissue = searched(shown, mpp)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 85]
    cv2.imwrite(str(out), cv2.cvtColor(picture(shown, tissue), cv2.COLOR_RGB2BGR), quality)
    click.echo(f"{tissue.mask.mean():.1%} of the slide is tissue: {out}")


if __name__ == "__main__":
    main()
