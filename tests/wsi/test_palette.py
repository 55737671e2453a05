"""Colours of label values."""

import numpy as np
import pytest

from wsi.palette import LabelClass, Palette


def test_lookup_gives_each_value_its_colour() -> None:
    table = Palette((LabelClass(1, "normal", (1, 2, 3)), LabelClass(7, "benign", (255, 0, 9)))).lookup()

    assert table.shape == (256, 3)
    assert table.dtype == np.uint8
    assert table[[0, 1, 7]].tolist() == [[255, 255, 255], [1, 2, 3], [255, 0, 9]]


def test_tiff_colours_are_sixteen_bit_planes() -> None:
    colours = Palette((LabelClass(1, "normal", (0, 128, 255)),)).tiff_colour_map()

    assert colours.shape == (3, 256)
    assert colours[:, 1].tolist() == [0, 128 * 257, 65_535]


@pytest.mark.parametrize(
    "classes",
    [
        (LabelClass(0, "glass", (0, 0, 0)),),
        (LabelClass(256, "x", (0, 0, 0)),),
        (LabelClass(1, "a", (0, 0, 0)), LabelClass(1, "b", (0, 0, 0))),
        (LabelClass(1, "a", (0, 0, 256)),),
        (LabelClass(1, "a", (0, 0)),),  # type: ignore[arg-type]
    ],
)
def test_senseless_palettes_are_refused(classes: tuple[LabelClass, ...]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Palette(classes)
