"""Images of class codes laid over a slide."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from model.data.class_scheme import UNLABELLED, ClassScheme, NamedClass
from model.data.label_image import LabelImage
from model.data.slices import PAPER_INPUT
from model.errors import CohortError
from wsi.geometry import Rect, Size
from wsi.grid import Grid, make_grid

SCHEME = ClassScheme((NamedClass("stroma", codes=(10, 11)), NamedClass("tumour", codes=(30,))))
CODES = np.kron(np.array([[0, 10, 11], [30, 30, 0]], np.uint8), np.ones((4, 4), np.uint8))
VALUES = np.kron(np.array([[255, 1, 1], [2, 2, 255]], np.uint8), np.ones((4, 4), np.uint8))


@pytest.fixture
def grid() -> Grid:
    """A slide of 48 x 32 px: 24 x 16 label px."""
    return make_grid(Size(48, 32), 0.467, PAPER_INPUT)


def write(path: Path, codes: NDArray[np.uint8], kind: str) -> Path:
    if kind == "tiles":
        tifffile.imwrite(path, codes, photometric="minisblack", tile=(16, 16), compression="deflate")
    elif kind == "strips":
        tifffile.imwrite(path, codes, photometric="minisblack")
    else:
        image = Image.fromarray(codes)
        if kind == "palette":
            image.putpalette([7, 7, 7] * 256)
        image.save(path)
    return path


@pytest.mark.parametrize("kind", ["tiles", "strips", "grey", "palette"])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_codes_become_values_whatever_the_scale(kind: str, scale: int, grid: Grid, tmp_path: Path) -> None:
    codes = np.kron(CODES, np.ones((scale, scale), np.uint8))
    path = write(tmp_path / ("a.tif" if kind in {"tiles", "strips"} else "a.png"), codes, kind)
    expected = np.kron(VALUES, np.ones((2, 2), np.uint8))
    with LabelImage(path, grid, SCHEME) as image:
        image.check(SCHEME)
        np.testing.assert_array_equal(image.read(Rect(0, 0, 24, 16)), expected)
        np.testing.assert_array_equal(image.read(Rect(5, 3, 7, 6)), expected[3:9, 5:12])
        np.testing.assert_array_equal(image.read(Rect(-2, -1, 30, 20)), np.pad(expected, ((1, 3), (2, 4))))
        assert not image.read(Rect(30, 0, 4, 4)).any()


def test_without_codes_values_are_places_in_the_list(grid: Grid, tmp_path: Path) -> None:
    scheme = ClassScheme((NamedClass("stroma"), NamedClass("tumour")))
    path = write(tmp_path / "a.png", np.arange(6, dtype=np.uint8).reshape(2, 3) % 3, "grey")
    with LabelImage(path, grid, scheme) as image:
        assert image.read(Rect(0, 0, 24, 16))[::8, ::8].tolist() == [[UNLABELLED, 1, 2]] * 2


def test_codes_that_are_no_class_are_counted_and_named(grid: Grid, tmp_path: Path) -> None:
    codes = CODES.copy()
    codes[0, :3] = 77
    with (
        LabelImage(write(tmp_path / "a.png", codes, "grey"), grid, SCHEME) as image,
        pytest.raises(
            CohortError, match=r"a\.png has the codes 77 \(3 px\), .* 10 stroma, 11 stroma, 30 tumour"
        ),
    ):
        image.check(SCHEME)


@pytest.mark.parametrize("shape", [(12, 12), (8, 10), (64, 96)])
def test_an_image_of_other_proportions_is_refused(shape: tuple[int, int], grid: Grid, tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", np.zeros(shape, np.uint8), "grey")
    with pytest.raises(CohortError, match=rf"a\.png has {shape[1]} x {shape[0]} px, the slide 48 x 32"):
        LabelImage(path, grid, SCHEME)


def test_a_size_that_was_rounded_is_taken(tmp_path: Path) -> None:
    grid = make_grid(Size(4801, 3199), 0.467, PAPER_INPUT)
    with LabelImage(
        write(tmp_path / "a.png", np.full((99, 150), 30, np.uint8), "grey"), grid, SCHEME
    ) as image:
        assert (image.read(Rect.of(grid.label_size)) == 2).all()


def test_what_is_no_label_image_is_refused(grid: Grid, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((16, 24, 3), np.uint8)).save(tmp_path / "rgb.png")
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((16, 24, 3), np.uint8), photometric="rgb")
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.tif").write_bytes(b"")
    whole = write(tmp_path / "torn.png", CODES, "grey").read_bytes()
    (tmp_path / "torn.png").write_bytes(whole[:-30])
    for name, told in (
        ("rgb.png", "its mode is RGB"),
        ("rgb.tif", "3 channel"),
        ("text.png", "it is no PNG"),
        ("empty.tif", "cannot be read"),
        ("torn.png", ""),
    ):
        with pytest.raises(CohortError, match=rf"^{name} cannot be read as a label image .*{told}") as caught:
            LabelImage(tmp_path / name, grid, SCHEME)
        assert "\n" not in str(caught.value)
