"""Which pixels of the slide a tissue mask speaks of: scale, edges, margins and tiles, at several scales."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.wsi.test_tissue import CARD, GLASS, found, grid_of, slide_of, textured
from wsi.geometry import Rect, Size
from wsi.grid import Grid, InputGeometry, make_grid
from wsi.tissue import TissueMask, find_tissue

# um/px of the slide: (l0 px per px of the overview, largest gap that is closed in px of the overview).
# A label px is 2, 4, 2 and 1 l0 px; a px of the overview is 7.5, 8, 8 and 8 um, one of the mask half of that.
SCALES = {0.467: (16, 16), 0.25: (32, 14), 0.5: (16, 14), 1.0: (8, 14)}
CORNERS = ["upper left", "upper right", "lower left", "lower right"]
MARGIN_UM = 30.0


def found_at(mpp: float, pixels: NDArray[np.uint8]) -> tuple[Grid, TissueMask]:
    slide = slide_of(pixels)
    grid = make_grid(slide.info.size, mpp, CARD)
    return grid, find_tissue(slide, grid)


def slide_with(rects: list[Rect], downsample: int, size: Size) -> NDArray[np.uint8]:
    """Glass with strong tissue in `rects`, which are in px of the overview."""
    pixels = np.full((size.height, size.width, 3), GLASS, np.uint8)
    for rect in rects:
        part = rect.scaled(downsample)
        pixels[part.y : part.bottom, part.x : part.right] = (120, 60, 140)
    return pixels


def distance_um(rects: list[Rect], downsample: int, mask: TissueMask, mpp: float) -> NDArray[np.float64]:
    """Return how far the centre of each mask px is from the nearest rectangle, in px of the overview."""
    height, width = mask.mask.shape
    y = ((np.arange(height) + 0.5) * mask.downsample)[:, None]
    x = ((np.arange(width) + 0.5) * mask.downsample)[None, :]
    far = np.full((height, width), np.inf)
    for rect in (rect.scaled(downsample) for rect in rects):
        away_x = np.maximum(np.maximum(rect.x - x, x - rect.right), 0)
        away_y = np.maximum(np.maximum(rect.y - y, y - rect.bottom), 0)
        far = np.minimum(far, np.hypot(away_x, away_y))
    return far * mpp


def assert_rounded_rim(rects: list[Rect], downsample: int, tissue: TissueMask, mpp: float) -> None:
    """Check that the mask is what lies within 30 um of the rectangles, to one px of the mask."""
    far, px_um = distance_um(rects, downsample, tissue, mpp), tissue.downsample * mpp
    assert tissue.mask[far <= MARGIN_UM - px_um].all()
    assert not tissue.mask[far > MARGIN_UM + px_um].any()


@pytest.mark.parametrize("mpp", SCALES)
@pytest.mark.parametrize("corner", CORNERS)
def test_tissue_in_one_corner_is_marked_there_and_nowhere_else(mpp: float, corner: str) -> None:
    downsample, _ = SCALES[mpp]
    # 61 x 43 px of the overview, the last column and row not full.
    size = Size(60 * downsample + downsample * 7 // 8, 42 * downsample + downsample * 3 // 4)
    width, height = 11, 7
    rect = Rect(
        61 - width if "right" in corner else 0, 43 - height if "lower" in corner else 0, width, height
    )

    grid, tissue = found_at(mpp, slide_with([rect], downsample, size))

    assert tissue.downsample == downsample // 2
    assert_rounded_rim([rect], downsample, tissue, mpp)
    # The same in mm on the slide: all of the tissue, and at most 30 um of margin and one mask px around it.
    rows, columns = np.nonzero(tissue.crop(Rect.of(grid.label_size), grid))
    overview_mm, label_mm = downsample * mpp / 1000, grid.label_mpp / 1000
    for label_px, first, count, whole in (
        (columns, rect.x, width, grid.label_size.width),
        (rows, rect.y, height, grid.label_size.height),
    ):
        start, end = label_px.min() * label_mm, (label_px.max() + 1) * label_mm
        slack = 0.030 + overview_mm / 2
        assert max(0, first * overview_mm - slack) <= start <= first * overview_mm + 1e-9
        whole_mm = whole * label_mm
        assert min(whole_mm, (first + count) * overview_mm) - 1e-9 <= end
        assert end <= (first + count) * overview_mm + slack


def test_outlines_are_round() -> None:
    """A square neighbourhood would reach 30 um along both axes at once: 42 um from the corner."""
    downsample, _ = SCALES[0.5]
    rect = Rect(20, 20, 30, 30)

    _, tissue = found_at(0.5, slide_with([rect], downsample, Size(70 * downsample, 70 * downsample)))

    assert_rounded_rim([rect], downsample, tissue, 0.5)
    assert distance_um([rect], downsample, tissue, 0.5)[tissue.mask].max() <= MARGIN_UM + 4


@pytest.mark.parametrize("mpp", SCALES)
@pytest.mark.parametrize("upright", [True, False])
def test_gaps_are_closed_up_to_twice_60_um(mpp: float, upright: bool) -> None:
    downsample, widest = SCALES[mpp]
    for gap, closed in ((widest, True), (widest + 1, False)):
        first, second = Rect(0, 0, 15, 21), Rect(15 + gap, 0, 12, 21)
        if not upright:
            first, second = (Rect(rect.y, rect.x, rect.height, rect.width) for rect in (first, second))
        last = second.right, second.bottom
        _, tissue = found_at(
            mpp, slide_with([first, second], downsample, Size(last[0] * downsample, last[1] * downsample))
        )

        rects = [Rect(0, 0, *last)] if closed else [first, second]
        assert_rounded_rim(rects, downsample, tissue, mpp)


@pytest.mark.parametrize(
    ("card_mpp", "slide_mpp", "downsample", "step"),
    [
        (0.934, 0.25, 16, 4),
        (0.934, 0.467, 8, 4),
        (0.934, 0.5, 8, 4),
        (0.934, 0.9, 4, 4),
        (4.0, 2.0, 2, 1),
        (8.0, 8.0, 1, 1),
        (20.0, 20.0, 1, 1),  # coarser than the mask: label px as they are
        (0.01, 0.01, 256, 256),  # the overview's are at most one tile
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
    """Strips are 256 px high: tissue in the first, across the border, and in the second."""
    downsample, _ = SCALES[1.0]
    rects = [Rect(12, 30, 12, 20), Rect(50, 246, 20, 24), Rect(85, 310, 10, 15)]

    _, tissue = found_at(1.0, slide_with(rects, downsample, Size(110 * downsample, 340 * downsample)))

    assert_rounded_rim(rects, downsample, tissue, 1.0)


def test_a_thin_rim_of_tissue_at_the_edge_is_kept_and_a_thin_line_inside_is_not() -> None:
    downsample, _ = SCALES[0.5]
    rim, line = Rect(0, 20, 1, 15), Rect(40, 20, 1, 15)

    _, tissue = found_at(0.5, slide_with([rim, line], downsample, Size(80 * downsample, 60 * downsample)))

    assert_rounded_rim([rim], downsample, tissue, 0.5)


def test_margin_is_at_least_one_mask_pixel() -> None:
    pixels = slide_with([Rect(20, 30, 9, 7)], 1, Size(80, 60))
    grid = make_grid(Size(80, 60), 80.0, InputGeometry(80.0, 5, slices_per_side=5, halo_px=64))

    mask = find_tissue(slide_of(pixels), grid).mask

    expected = np.zeros((60, 80), np.bool_)
    expected[29:38, 19:30] = True
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize(
    ("dirt", "drops"),
    [
        (0, [21]),  # the lower limit is enough where the histogram leaves room: 21 is below the upper one
        (16, [60]),  # dirt lies above the lower limit; the histogram tells it from tissue
        (0, [30, 200]),  # the histogram alone would put its threshold above the pale one
    ],
)
def test_the_threshold_is_the_histograms_within_limits(dirt: int, drops: list[int]) -> None:
    downsample, _ = SCALES[0.5]
    rects = [Rect(75, 15, 40, 30), Rect(15, 15, 20, 15)][: len(drops)]
    pixels = np.full((60 * downsample, 130 * downsample, 3), GLASS, np.uint8)
    pixels[:, : 65 * downsample] -= np.uint8(dirt)
    for rect, drop in zip(rects, drops, strict=True):
        part = rect.scaled(downsample)
        pixels[part.y : part.bottom, part.x : part.right] = GLASS
        pixels[part.y : part.bottom, part.x : part.right, 1] -= np.uint8(drop)

    assert_rounded_rim(rects, downsample, found(pixels), 0.5)


def test_the_mask_ends_with_the_label_map_not_with_the_slide() -> None:
    pixels = textured((120, 60, 140), 1201, 1601)  # one l0 px more than 800 x 600 label px

    assert found(pixels).mask.shape == (150, 200)
    assert TissueMask.everywhere(grid_of(pixels), Rect(0, 0, 1601, 1201)).mask.shape == (150, 200)


def test_a_large_slide_is_searched_more_coarsely() -> None:
    """Of 12 million px at most: memory and time have a bound whatever the slide."""
    grid = make_grid(Size(400_000, 300_000), 0.25, CARD)

    tissue = TissueMask.everywhere(grid, Rect.of(grid.slide))

    assert tissue.downsample == 64
    assert tissue.mask.size // 4 <= 12_000_000


@pytest.mark.parametrize(
    ("bounds", "rows", "columns"),
    [
        (Rect(37, 101, 500, 300), slice(12, 51), slice(4, 68)),
        (Rect(32, 96, 160, 64), slice(12, 20), slice(4, 24)),  # on mask px: not one more
        (Rect(31, 95, 162, 66), slice(11, 21), slice(3, 25)),  # one px over on each side: one more
        (Rect(0, 0, 1, 1), slice(0, 1), slice(0, 1)),
        (Rect(1602, 1198, 1, 1), slice(149, 150), slice(200, 201)),
    ],
)
def test_every_mask_pixel_that_touches_the_bounds_is_kept(bounds: Rect, rows: slice, columns: slice) -> None:
    size = Size(1604, 1200)
    expected = np.zeros((150, 201), np.bool_)
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
