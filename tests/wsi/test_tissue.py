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

    assert tissue.mask[208 // 16 : 496 // 16, 208 // 16 : 592 // 16].all()
    assert tissue.mask[800 // 16 : 1088 // 16, 912 // 16 : 1392 // 16].all()
    assert not tissue.mask[600 // 16 : 700 // 16].any()


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

    assert tissue.mask.shape == (75, 100)
    assert tissue.mask.all()


# um/px of the slide: (l0 px per mask px, margin in mask px, largest gap that is closed in mask px).
# A label px is 2, 4, 2 and 1 l0 px; a mask px 16, 8, 8 and 8 label px, that is 14.9, 8, 8 and 8 um.
SCALES = {0.467: (32, 2, 8), 0.25: (32, 4, 16), 0.5: (16, 4, 16), 1.0: (8, 4, 16)}
CORNERS = ["upper left", "upper right", "lower left", "lower right"]


def found_at(mpp: float, pixels: NDArray[np.uint8]) -> tuple[Grid, TissueMask]:
    slide = slide_of(pixels)
    grid = make_grid(slide.info.size, mpp, CARD)
    return grid, find_tissue(slide, grid)


def slide_with(rects: list[Rect], downsample: int, size: Size) -> NDArray[np.uint8]:
    """Glass with strong tissue in `rects`, which are in mask px."""
    pixels = np.full((size.height, size.width, 3), GLASS, np.uint8)
    for rect in rects:
        part = rect.scaled(downsample)
        pixels[part.y : part.bottom, part.x : part.right] = (120, 60, 140)
    return pixels


def mask_of(rects: list[Rect], shape: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, np.bool_)
    for rect in rects:
        mask[max(0, rect.y) : max(0, rect.bottom), max(0, rect.x) : max(0, rect.right)] = True
    return mask


@pytest.mark.parametrize("mpp", SCALES)
@pytest.mark.parametrize("corner", CORNERS)
def test_tissue_in_one_corner_is_marked_there_and_nowhere_else(mpp: float, corner: str) -> None:
    downsample, margin, _ = SCALES[mpp]
    # 61 x 43 mask px, the last column and row not full.
    size = Size(60 * downsample + downsample * 7 // 8, 42 * downsample + downsample * 3 // 4)
    width, height = 11, 7
    rect = Rect(
        61 - width if "right" in corner else 0, 43 - height if "lower" in corner else 0, width, height
    )

    grid, tissue = found_at(mpp, slide_with([rect], downsample, size))

    assert tissue.downsample == downsample
    assert np.array_equal(tissue.mask, mask_of([rect.grown(margin)], (43, 61)))
    # The same in mm on the slide: all of the tissue, and at most 30 um of margin and one mask px around it.
    rows, columns = np.nonzero(tissue.crop(Rect.of(grid.label_size), grid))
    mask_mm, label_mm = downsample * mpp / 1000, grid.label_mpp / 1000
    for label_px, first, count, whole in (
        (columns, rect.x, width, grid.label_size.width),
        (rows, rect.y, height, grid.label_size.height),
    ):
        start, end = label_px.min() * label_mm, (label_px.max() + 1) * label_mm
        slack = 0.030 + mask_mm
        assert max(0, first * mask_mm - slack) <= start <= first * mask_mm + 1e-9
        whole_mm = whole * label_mm
        assert min(whole_mm, (first + count) * mask_mm) - 1e-9 <= end <= (first + count) * mask_mm + slack


@pytest.mark.parametrize("mpp", SCALES)
@pytest.mark.parametrize("upright", [True, False])
def test_gaps_are_closed_up_to_twice_60_um(mpp: float, upright: bool) -> None:
    downsample, margin, widest = SCALES[mpp]
    for gap, closed in ((widest, True), (widest + 1, False)):
        first, second = Rect(0, 0, 15, 21), Rect(15 + gap, 0, 12, 21)
        if not upright:
            first, second = (Rect(rect.y, rect.x, rect.height, rect.width) for rect in (first, second))
        last = second.right, second.bottom
        _, tissue = found_at(
            mpp, slide_with([first, second], downsample, Size(last[0] * downsample, last[1] * downsample))
        )

        rects = [Rect(0, 0, *last)] if closed else [first.grown(margin), second.grown(margin)]
        assert np.array_equal(tissue.mask, mask_of(rects, (last[1], last[0])))


@pytest.mark.parametrize(
    ("card_mpp", "slide_mpp", "downsample", "step"),
    [
        (0.934, 0.25, 32, 8),
        (0.934, 0.467, 32, 16),
        (0.934, 0.5, 16, 8),
        (0.934, 0.9, 16, 16),
        (4.0, 2.0, 4, 2),
        (8.0, 8.0, 1, 1),
        (20.0, 20.0, 1, 1),  # coarser than the mask: label px as they are
        (0.01, 0.01, 512, 512),  # at most one tile
    ],
)
def test_a_mask_pixel_is_a_power_of_two_of_label_pixels_at_most_one_tile(
    card_mpp: float, slide_mpp: float, downsample: int, step: int
) -> None:
    grid = make_grid(Size(5003, 3001), slide_mpp, InputGeometry(card_mpp, 5, slices_per_side=5, halo_px=64))

    tissue = TissueMask.everywhere(grid, Rect.of(grid.slide))

    assert (tissue.downsample, tissue.downsample // grid.downsample) == (downsample, step)
    label_size = grid.label_size
    assert tissue.mask.shape == (-(-label_size.height // step), -(-label_size.width // step))
    assert tissue.mask.all()


def test_tissue_is_found_in_each_of_the_strips_the_slide_is_read_in() -> None:
    """Strips are 256 mask px high: tissue in the first, across the border, and in the second."""
    downsample, margin, _ = SCALES[1.0]
    rects = [Rect(12, 30, 12, 20), Rect(50, 246, 20, 24), Rect(85, 310, 10, 15)]

    _, tissue = found_at(1.0, slide_with(rects, downsample, Size(110 * downsample, 340 * downsample)))

    assert np.array_equal(tissue.mask, mask_of([rect.grown(margin) for rect in rects], (340, 110)))


def test_a_thin_rim_of_tissue_at_the_edge_is_kept_and_a_thin_line_inside_is_not() -> None:
    downsample, margin, _ = SCALES[0.5]
    rim, line = Rect(0, 20, 1, 15), Rect(40, 20, 1, 15)

    _, tissue = found_at(0.5, slide_with([rim, line], downsample, Size(80 * downsample, 60 * downsample)))

    assert np.array_equal(tissue.mask, mask_of([rim.grown(margin)], (60, 80)))


def test_margin_is_at_least_one_mask_pixel() -> None:
    pixels = slide_with([Rect(20, 30, 9, 7)], 1, Size(80, 60))
    grid = make_grid(Size(80, 60), 80.0, InputGeometry(80.0, 5, tiles_per_side=5, halo_px=64))

    mask = find_tissue(slide_of(pixels), grid).mask

    assert np.array_equal(mask, mask_of([Rect(20, 30, 9, 7).grown(1)], (60, 80)))


@pytest.mark.parametrize(
    ("dirt", "drops"),
    [
        (0, [21]),  # the lower limit is enough where the histogram leaves room: 21 is below the upper one
        (16, [60]),  # dirt lies above the lower limit; the histogram tells it from tissue
        (0, [30, 200]),  # the histogram alone would put its threshold above the pale one
    ],
)
def test_the_threshold_is_the_histograms_within_limits(dirt: int, drops: list[int]) -> None:
    downsample, margin, _ = SCALES[0.5]
    rects = [Rect(75, 15, 40, 30), Rect(15, 15, 20, 15)][: len(drops)]
    pixels = np.full((60 * downsample, 130 * downsample, 3), GLASS, np.uint8)
    pixels[:, : 65 * downsample] -= np.uint8(dirt)
    for rect, drop in zip(rects, drops, strict=True):
        part = rect.scaled(downsample)
        pixels[part.y : part.bottom, part.x : part.right] = GLASS
        pixels[part.y : part.bottom, part.x : part.right, 1] -= np.uint8(drop)

    mask = found(pixels).mask

    assert np.array_equal(mask, mask_of([rect.grown(margin) for rect in rects], (60, 130)))


def test_the_mask_ends_with_the_label_map_not_with_the_slide() -> None:
    pixels = textured((120, 60, 140), 1201, 1601)  # one l0 px more than 800 x 600 label px

    assert found(pixels).mask.shape == (75, 100)
    assert TissueMask.everywhere(grid_of(pixels), Rect(0, 0, 1601, 1201)).mask.shape == (75, 100)


@pytest.mark.parametrize(
    ("bounds", "rows", "columns"),
    [
        (Rect(37, 101, 500, 300), slice(6, 26), slice(2, 34)),
        (Rect(32, 96, 160, 64), slice(6, 10), slice(2, 12)),  # on mask px: not one more
        (Rect(31, 95, 162, 66), slice(5, 11), slice(1, 13)),  # one px over on each side: one more
        (Rect(0, 0, 1, 1), slice(0, 1), slice(0, 1)),
        (Rect(1602, 1198, 1, 1), slice(74, 75), slice(100, 101)),
    ],
)
def test_every_mask_pixel_that_touches_the_bounds_is_kept(bounds: Rect, rows: slice, columns: slice) -> None:
    size = Size(1604, 1200)
    expected = np.zeros((75, 101), np.bool_)
    expected[rows, columns] = True

    everywhere = TissueMask.everywhere(make_grid(size, 0.5, CARD), bounds)
    searched = found(textured((120, 60, 140), size.height, size.width), bounds)

    assert np.array_equal(everywhere.mask, expected)
    assert np.array_equal(searched.mask, expected)


@pytest.mark.parametrize(
    "spot", [(0, 0), (63, 0), (64, 0), (0, 63), (0, 64), (127, 191), (128, 192), (186, 231)]
)
def test_a_mask_pixel_marks_the_tile_it_lies_in_and_no_other(spot: tuple[int, int]) -> None:
    grid = make_grid(Size(3707, 2990), 0.5, CARD)  # 1853 x 1495 label px: 3 x 4 tiles of 64 x 64 mask px
    mask = np.zeros((187, 232), np.bool_)
    mask[spot] = True

    tiles = TissueMask(mask, 16).tile_has_tissue(grid)

    assert tiles.shape == (3, 4)
    assert np.argwhere(tiles).tolist() == [[spot[0] // 64, spot[1] // 64]]


def test_tissue_found_in_a_corner_gives_the_tile_of_that_corner() -> None:
    size = Size(3707, 2990)
    for corner, tile in (((0, 0), [0, 0]), ((3400, 0), [0, 3]), ((0, 2700), [2, 0]), ((3400, 2700), [2, 3])):
        pixels = np.full((size.height, size.width, 3), GLASS, np.uint8)
        pixels[corner[1] : corner[1] + 160, corner[0] : corner[0] + 240] = (120, 60, 140)

        grid, tissue = found_at(0.5, pixels)

        assert np.argwhere(tissue.tile_has_tissue(grid)).tolist() == [tile]


def test_a_mask_pixel_as_large_as_a_tile_marks_that_tile() -> None:
    grid = make_grid(Size(1900, 1300), 0.01, InputGeometry(0.01, 5, slices_per_side=5, halo_px=64))
    mask = np.array([[0, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]], np.bool_)

    assert np.array_equal(TissueMask(mask, 512).tile_has_tissue(grid), mask)


@pytest.mark.parametrize(
    "rect",
    [
        Rect(0, 0, 803, 601),
        Rect(13, 5, 70, 31),
        Rect(-9, 590, 50, 40),
        Rect(795, -3, 33, 12),
        Rect(900, 0, 5, 5),
    ],
)
def test_a_crop_is_that_part_of_the_enlarged_mask(rect: Rect) -> None:
    grid = make_grid(Size(1607, 1203), 0.5, CARD)  # 803 x 601 label px
    mask = np.random.default_rng(2).random((76, 101)) > 0.5
    enlarged = np.pad(mask.repeat(8, axis=0).repeat(8, axis=1)[:601, :803], 200)

    crop = TissueMask(mask, 16).crop(rect, grid)

    rows, columns = slice(rect.y + 200, rect.bottom + 200), slice(rect.x + 200, rect.right + 200)
    assert np.array_equal(crop, enlarged[rows, columns])


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
