"""Where tissue is found: glass none, tissue all, pale stains too."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi.errors import PlanFormatError
from wsi.geometry import Rect, Size
from wsi.grid import Grid, InputGeometry, make_grid
from wsi.reading.levels import PyramidSlide
from wsi.reading.slide_info import SlideInfo
from wsi.tissue import TissueMask, find_tissue

CARD = InputGeometry(mpp=0.934, context_ratio=5, slices_per_side=5, halo_px=64)
GLASS = (242, 241, 239)


class ArrayLevel:
    """A LevelSource over one array."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels = pixels
        self.sizes = (Size(pixels.shape[1], pixels.shape[0]),)

    def read(self, level: int, rect: Rect, reduce: int) -> NDArray[np.uint8]:
        part = self.pixels[rect.y : rect.bottom, rect.x : rect.right]
        return (
            part.reshape(rect.height // reduce, reduce, rect.width // reduce, reduce, 3)
            .mean(axis=(1, 3))
            .astype(np.uint8)
        )

    def close(self) -> None: ...


def slide_of(pixels: NDArray[np.uint8], bounds: Rect | None = None) -> PyramidSlide:
    level = ArrayLevel(pixels)
    info = SlideInfo("array", "tiff", level.sizes[0], (1.0,), None, None, bounds or Rect.of(level.sizes[0]))
    return PyramidSlide(info, level)


def textured(
    colour: tuple[int, int, int], height: int = 1200, width: int = 1600, spread: int = 4
) -> NDArray[np.uint8]:
    noise = np.random.default_rng(1).integers(-spread, spread + 1, (height, width, 3))
    return (np.array(colour) + noise).clip(0, 255).astype(np.uint8)


def grid_of(pixels: NDArray[np.uint8]) -> Grid:
    return make_grid(Size(pixels.shape[1], pixels.shape[0]), 0.5, CARD)


def found(pixels: NDArray[np.uint8], bounds: Rect | None = None) -> TissueMask:
    return find_tissue(slide_of(pixels, bounds), grid_of(pixels))


@pytest.mark.parametrize("glass", [GLASS, (255, 255, 255), (222, 221, 224), (246, 240, 228)])
def test_plain_glass_gives_nothing(glass: tuple[int, int, int]) -> None:
    assert not found(textured(glass)).mask.any()


@pytest.mark.parametrize("colour", [(180, 90, 150), (120, 80, 140), (205, 160, 190)])
def test_a_slide_full_of_tissue_gives_all(colour: tuple[int, int, int]) -> None:
    assert found(textured(colour, spread=40)).mask.all()


@pytest.mark.parametrize("colour", [(180, 90, 150), (238, 206, 222), (205, 214, 232), (190, 160, 120)])
def test_a_block_of_tissue_is_found_where_it_is(colour: tuple[int, int, int]) -> None:
    pixels = textured(GLASS)
    pixels[320:800, 640:1280] = textured(colour, 480, 640)

    tissue = found(pixels)

    step = tissue.downsample
    mask = tissue.mask
    assert mask[320 // step : 800 // step, 640 // step : 1280 // step].all()
    rim = round(0.25 * 480 / step)
    outside = mask.copy()
    outside[320 // step - rim : 800 // step + rim, 640 // step - rim : 1280 // step + rim] = False
    assert not outside.any()


def test_pale_tissue_is_kept_beside_strong_tissue() -> None:
    pixels = textured(GLASS)
    pixels[200:500, 200:600] = textured((110, 60, 130), 300, 400)
    pixels[800:1100, 900:1400] = textured((238, 210, 224), 300, 500)

    tissue = found(pixels)

    assert tissue.downsample == 8
    assert tissue.mask[208 // 8 : 496 // 8, 208 // 8 : 592 // 8].all()
    assert tissue.mask[800 // 8 : 1088 // 8, 912 // 8 : 1392 // 8].all()
    assert not tissue.mask[600 // 8 : 700 // 8].any()


def test_specks_go_and_small_holes_are_closed() -> None:
    pixels = textured(GLASS)
    pixels[320:800, 640:1280] = (170, 90, 150)
    pixels[500:540, 900:940] = GLASS  # 20 um
    pixels[100:110, 100:110] = (60, 60, 60)  # 5 um

    tissue = found(pixels)

    assert tissue.mask[520 // tissue.downsample, 920 // tissue.downsample]
    assert not tissue.mask[: 200 // tissue.downsample].any()


def test_only_the_bounds_are_searched() -> None:
    pixels = textured((180, 90, 150))

    mask = found(pixels, Rect(0, 0, 800, 1200)).mask

    assert mask[:, : mask.shape[1] // 2].all()
    assert not mask[:, mask.shape[1] // 2 + 1 :].any()


def test_dark_field_is_analysed_whole_not_lost() -> None:
    tissue = found(textured((3, 2, 30)))

    assert tissue.mask.shape == (150, 200)
    assert tissue.mask.all()


def test_tiles_with_tissue() -> None:
    grid = make_grid(Size(4 * 512 * 2, 3 * 512 * 2 - 100), 0.5, CARD)
    mask = np.zeros((192, 256), bool)
    mask[70, 130] = True  # label px (1040, 560)

    tiles = TissueMask(mask[:186], 16).tile_has_tissue(grid)

    assert tiles.shape == (3, 4)
    assert np.argwhere(tiles).tolist() == [[1, 2]]


def test_crop_is_the_nearest_mask_pixel_and_false_outside() -> None:
    grid = make_grid(Size(1600, 1200), 0.5, CARD)
    mask = np.ones((75, 100), bool)
    mask[0, 1] = False

    crop = TissueMask(mask, 16).crop(Rect(-4, -4, 40, 20), grid)

    assert not crop[:4].any()
    assert not crop[:, :4].any()
    assert crop[4:12, 4:12].all()
    assert not crop[4:12, 12:20].any()
    assert crop[12:, 4:].all()


def test_everywhere_keeps_each_tile_and_pixel() -> None:
    grid = make_grid(Size(5000, 3000), 0.5, CARD)
    tissue = TissueMask.everywhere(grid, Rect.of(grid.slide))

    assert tissue.tile_has_tissue(grid).all()
    assert tissue.crop(Rect.of(grid.label_size), grid).all()


def test_everywhere_leaves_out_what_was_never_scanned() -> None:
    grid = make_grid(Size(5000, 3000), 0.5, CARD)
    bounds = Rect(1200, 800, 2000, 1600)

    tissue = TissueMask.everywhere(grid, bounds)

    crop = tissue.crop(Rect.of(grid.label_size), grid)
    assert crop[400:1200, 600:1600].all()
    rim = tissue.downsample // grid.downsample
    crop[400 - rim : 1200 + rim, 600 - rim : 1600 + rim] = False
    assert not crop.any()
    assert tissue.tile_has_tissue(grid).tolist() == [
        [False, True, True, True, False],
        [False, True, True, True, False],
        [False, True, True, True, False],
    ]


def test_the_search_tells_how_far_it_is_and_can_be_ended() -> None:
    pixels = textured(GLASS, 5000, 320)
    seen: list[float] = []
    find_tissue(slide_of(pixels), grid_of(pixels), progress=seen.append)

    assert len(seen) == 2
    assert 0 < seen[0] < seen[1] == 1

    def stop(_fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_tissue(slide_of(pixels), grid_of(pixels), progress=stop)


def test_saved_masks_come_back_and_broken_ones_are_refused(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((37, 51)) > 0.5
    path = tmp_path / "tissue.npz"
    TissueMask(mask, 32).save(path, origin="slide 1")

    loaded = TissueMask.load(path, origin="slide 1")

    assert loaded.downsample == 32
    assert (loaded.mask == mask).all()
    with pytest.raises(PlanFormatError, match="something else"):
        TissueMask.load(path, origin="slide 2")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(PlanFormatError):
        TissueMask.load(path, origin="slide 1")


INKS = {"blue": (40, 80, 185), "green": (40, 130, 100), "black": (60, 58, 62)}


def biopsy(height: int = 2400, width: int = 3200) -> NDArray[np.uint8]:
    """Glass of 1.2 x 1.6 mm with tissue of 0.4 x 0.6 mm in its middle."""
    pixels = textured(GLASS, height, width)
    pixels[800:1600, 1000:2200] = textured((180, 90, 150), 800, 1200, spread=30)
    return pixels


def slide_mm(mask: TissueMask, rows: slice, columns: slice) -> NDArray[np.bool_]:
    """Part of a mask by level-0 px."""
    step = mask.downsample
    return mask.mask[rows.start // step : rows.stop // step, columns.start // step : columns.stop // step]


@pytest.mark.parametrize("ink", INKS)
def test_pen_marks_are_left_out(ink: str) -> None:
    pixels = biopsy()
    pixels[200:500, 300:1500] = textured(INKS[ink], 300, 1200)
    pixels[195:200, 300:1500] = (np.array(INKS[ink]) + GLASS) // 2  # a blurred edge

    tissue = found(pixels)

    assert slide_mm(tissue, slice(820, 1580), slice(1020, 2180)).all()
    assert not slide_mm(tissue, slice(0, 700), slice(0, 3200)).any()


@pytest.mark.parametrize(
    "colour", [(120, 90, 160), (95, 110, 160), (150, 100, 70), (90, 60, 45), (190, 60, 70)]
)
def test_dark_tissue_is_not_taken_for_ink(colour: tuple[int, int, int]) -> None:
    """Dense haematoxylin, a bluer one, a brown stain, melanin, blood: as large as a stroke of a pen."""
    pixels = biopsy()
    pixels[1000:1400, 1200:2000] = textured(colour, 400, 800)

    assert slide_mm(found(pixels), slice(820, 1580), slice(1020, 2180)).all()


def test_a_blue_stain_is_not_taken_for_ink() -> None:
    pixels = textured(GLASS, 2400, 3200)
    pixels[800:1600, 1000:2200] = textured(INKS["blue"], 800, 1200, spread=30)

    assert slide_mm(found(pixels), slice(820, 1580), slice(1020, 2180)).all()


def test_grey_slides_keep_their_tissue() -> None:
    pixels = biopsy().mean(axis=2, keepdims=True).astype(np.uint8).repeat(3, axis=2)
    pixels[1000:1400, 1200:2000] = 60

    assert slide_mm(found(pixels), slice(820, 1580), slice(1020, 2180)).all()


@pytest.mark.parametrize("width_px", [20, 400])
def test_black_borders_are_left_out(width_px: int) -> None:
    pixels = biopsy()
    pixels[:, :width_px] = pixels[-width_px:] = (4, 3, 5)
    pixels[1150:1250, 1500:1600] = (10, 10, 10)  # black inside is pigment or dirt on tissue

    tissue = found(pixels)

    assert slide_mm(tissue, slice(820, 1580), slice(1020, 2180)).all()
    assert not slide_mm(tissue, slice(0, 2400), slice(0, 900)).any()
    assert not slide_mm(tissue, slice(1700, 2400), slice(0, 3200)).any()


def test_a_border_is_black_around_the_scanned_part_too() -> None:
    pixels = np.full((2400, 3200, 3), 255, np.uint8)
    pixels[400:2000, 400:2800] = biopsy()[400:2000, 400:2800]
    pixels[400:2000, 400:600] = (4, 3, 5)

    tissue = found(pixels, Rect(400, 400, 2400, 1600))

    assert slide_mm(tissue, slice(820, 1580), slice(1020, 2180)).all()
    assert not slide_mm(tissue, slice(0, 2400), slice(0, 900)).any()


def test_no_square_is_left_on_bare_glass() -> None:
    """Around a small piece the mask is a disc: its corners are glass."""
    pixels = textured(GLASS)
    pixels[580:620, 780:820] = (170, 90, 150)  # 20 um

    mask = found(pixels).mask

    rows, columns = np.nonzero(mask)
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert 15 <= height <= 24
    assert 15 <= width <= 24
    assert not mask[rows.min(), columns.min()]
    assert not mask[rows.max(), columns.max()]
