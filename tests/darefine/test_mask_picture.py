"""A picture of a tissue mask becomes polygons on its slide."""

from pathlib import Path

import numpy as np
import pytest
import shapely
from PIL import Image

from darefine.mask_picture import MaskPictureError, trace_mask_picture
from wsi.geometry import Size
from wsi.read_regions import read_regions

SLIDE = Size(8000, 6000)


def drawn(mode: str) -> Image.Image:
    """40 x 30 px, not black at x 10 to 25, y 5 to 20, with a black hole of 5 x 4 px."""
    mask = np.zeros((30, 40), np.uint8)
    mask[5:20, 10:25] = 255
    mask[10:14, 15:20] = 0
    picture = Image.fromarray(mask)
    if mode == "RGBA":
        clear = Image.new("RGBA", (40, 30), (200, 90, 90, 0))
        clear.putalpha(picture)
        return clear
    if mode == "P":
        palette = Image.fromarray(mask // 255)
        palette.putpalette([0, 0, 0, 90, 200, 20])
        return palette
    if mode == "I;16":
        return Image.fromarray((mask // 255).astype(np.uint16))
    return picture.convert(mode)


@pytest.mark.parametrize(
    ("mode", "name"),
    [("L", "m.png"), ("1", "m.png"), ("RGB", "m.bmp"), ("P", "m.png"), ("RGBA", "m.png"), ("I;16", "m.tif")],
)
def test_what_is_not_black_becomes_polygons_in_level_0_pixels(mode: str, name: str, tmp_path: Path) -> None:
    drawn(mode).save(tmp_path / name)

    (polygon,) = read_regions(trace_mask_picture(tmp_path / name, SLIDE)).polygons

    expected = shapely.box(2000, 1000, 5000, 4000) - shapely.box(3000, 2000, 4000, 2800)
    assert shapely.Polygon(polygon[0], polygon[1:]).equals(expected)


def test_a_diagonal_edge_is_smooth_and_within_a_pixel(tmp_path: Path) -> None:
    y, x = np.mgrid[:300, :400]
    Image.fromarray(((x + 2 * y < 300) * 255).astype(np.uint8)).save(tmp_path / "m.png")

    (polygon,) = read_regions(trace_mask_picture(tmp_path / "m.png", SLIDE)).polygons

    triangle = shapely.Polygon([(0, 0), (300 * 20, 0), (0, 150 * 20)])
    assert shapely.hausdorff_distance(shapely.Polygon(polygon[0]), triangle) < 1.5 * 20
    assert len(polygon[0]) < 20


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (Image.new("L", (40, 40), 255), "another shape than the slide of 8000 x 6000 px"),
        (Image.new("L", (40, 30), 0), "all black"),
        (None, "no picture"),
    ],
)
def test_what_is_no_mask_of_the_slide_is_refused(
    picture: Image.Image | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.png"
    if picture is None:
        path.write_bytes(b"no picture")
    else:
        picture.save(path)
    with pytest.raises(MaskPictureError, match=said):
        trace_mask_picture(path, SLIDE)
