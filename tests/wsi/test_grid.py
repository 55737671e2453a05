"""The cut of a slide: exact level-0 multiples, sizes the encoders take, cores that tile the label map
once.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi.errors import HaloError, MppOutOfRangeError, SlideLimitError
from wsi.geometry import Rect, Size, WindowSpan
from wsi.grid import TILE_PX, ContextMode, Grid, InputGeometry, make_grid

CARD = InputGeometry(mpp=0.934, context_ratio=5, slices_per_side=5, halo_px=64)

grids = st.builds(
    lambda width, height, mpp, halo: make_grid(Size(width, height), mpp, CARD, halo_px=16 * halo),
    st.integers(40, 60_000),
    st.integers(40, 60_000),
    st.floats(0.05, 1.868),
    st.integers(0, 32),
)


def test_bach_slide_is_read_at_exactly_half_its_size() -> None:
    grid = make_grid(Size(20_001, 10_003), 0.467, CARD)

    assert (grid.downsample, grid.label_size, grid.exact) == (2, Size(10_000, 5001), True)
    assert (grid.window_px, grid.slice_network_px) == (640, 640)
    assert (grid.patch_px, grid.region_px, grid.context_network_px) == (2560, 2688, 544)


@pytest.mark.parametrize(
    ("mpp", "downsample", "exact"),
    [
        (0.25, 4, True),
        (0.2282, 4, True),
        (0.35, 2, False),
        (0.5, 2, True),
        (0.65, 1, False),
        (0.9, 1, True),
        (1.8, 1, False),
    ],
)
def test_the_largest_whole_number_within_ten_percent_of_the_card_is_taken(
    mpp: float, downsample: int, exact: bool
) -> None:
    grid = make_grid(Size(9000, 9000), mpp, CARD)

    assert (grid.downsample, grid.exact) == (downsample, exact)


def test_a_scale_more_than_ten_percent_off_is_resampled_to_the_card() -> None:
    grid = make_grid(Size(9000, 9000), 0.65, CARD)

    assert grid.slice_network_px == 448  # 640 px of 0.65 um are 445 px of 0.934 um
    assert grid.slices_per_side == 7  # of 0.333 mm each: 2.33 mm, as 5 of the card's 0.478 mm are 2.39 mm
    assert grid.context_network_px == 512  # 3712 px are 2583 px of 0.934 um, a fifth of them


def test_too_coarse_a_slide_is_refused_with_what_to_send() -> None:
    with pytest.raises(MppOutOfRangeError, match=r"Send a slide of at most 1\.868"):
        make_grid(Size(9000, 9000), 1.9, CARD)


@pytest.mark.parametrize("halo_px", [-16, 8, 520, 528])
def test_a_halo_that_does_not_fit_is_refused(halo_px: int) -> None:
    with pytest.raises(HaloError, match="multiple of 16"):
        make_grid(Size(9000, 9000), 0.5, CARD, halo_px=halo_px)


def test_a_slide_smaller_than_a_label_pixel_is_refused() -> None:
    with pytest.raises(SlideLimitError):
        make_grid(Size(3, 100), 0.2335, CARD)


@given(grids)
def test_network_sides_are_multiples_of_32_near_the_scale_of_the_card(grid: Grid) -> None:
    assert grid.slice_network_px % 32 == grid.context_network_px % 32 == grid.window_px % 32 == 0
    network_mpp = grid.label_mpp * grid.window_px / grid.slice_network_px
    assert network_mpp == pytest.approx(CARD.mpp, rel=0.11)


@given(grids)
def test_no_more_detail_than_ten_percent_is_thrown_away(grid: Grid) -> None:
    limit = pytest.approx(1.1 * CARD.mpp)

    assert grid.downsample == 1 or grid.label_mpp < 1.1 * CARD.mpp or grid.label_mpp == limit
    next_coarser = grid.slide_mpp * (grid.downsample + 1)
    assert next_coarser > 1.1 * CARD.mpp or next_coarser == limit


@given(grids)
def test_a_patch_is_as_near_to_the_size_of_the_cards_as_whole_tiles_come(grid: Grid) -> None:
    within = abs(grid.label_mpp / CARD.mpp - 1) < 0.0999
    if within:
        assert grid.slices_per_side == CARD.slices_per_side
    off_um = abs(grid.slices_per_side * grid.label_mpp - CARD.slices_per_side * CARD.mpp) * TILE_PX
    half_a_tile_um = grid.label_mpp * TILE_PX / 2
    assert off_um <= half_a_tile_um * (1.12 if grid.slices_per_side == CARD.slices_per_side else 1.001)


@given(grids)
def test_every_label_pixel_is_an_n_by_n_block_of_the_slide(grid: Grid) -> None:
    label = Rect.of(grid.label_size).scaled(grid.downsample)

    assert label.intersect(Rect.of(grid.slide)) == label
    assert grid.slide.width // grid.label_size.width >= grid.downsample
    assert grid.slide.width - label.width < grid.downsample
    assert grid.slide.height - label.height < grid.downsample


@given(grids)
def test_patch_cores_tile_the_label_map_exactly_once(grid: Grid) -> None:
    covered = np.zeros((grid.tile_rows, grid.tile_columns), int)
    for index in range(grid.patch_columns * grid.patch_rows):
        core = grid.patch_core(index)
        assert core.x % TILE_PX == core.y % TILE_PX == 0
        assert not core.intersect(Rect.of(grid.label_size)).is_empty
        covered[core.y // TILE_PX : core.bottom // TILE_PX, core.x // TILE_PX : core.right // TILE_PX] += 1

    assert (covered == 1).all()
    assert (grid.tile_columns - 1) * TILE_PX < grid.label_size.width <= grid.tile_columns * TILE_PX


@given(grids, st.data())
def test_the_region_is_the_core_and_a_margin_for_slices_and_context(grid: Grid, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, grid.patch_columns * grid.patch_rows - 1))

    region, core = grid.patch_view(index, ()).region, grid.patch_core(index)

    margin_px = max(grid.halo_px, CARD.halo_px)
    assert region.width == region.height == grid.region_px
    assert region.x == core.x - margin_px
    assert region.bottom == core.bottom + margin_px


@given(grids)
def test_a_request_for_another_halo_changes_the_slices_and_not_the_context(grid: Grid) -> None:
    usual = make_grid(grid.slide, grid.slide_mpp, CARD)

    view, usual_view = grid.patch_view(0, ()), usual.patch_view(0, ())

    assert view.context == usual_view.context
    assert grid.context_network_px == usual.context_network_px
    assert usual_view.context == usual_view.region
    assert grid.window_px - usual.window_px == 2 * (grid.halo_px - CARD.halo_px)


@given(grids, st.integers(0, 32).map(lambda steps: 16 * steps))
def test_a_card_may_have_a_halo_other_than_the_margin_of_its_context(grid: Grid, halo_px: int) -> None:
    card = replace(CARD, halo_px=halo_px, context_margin_px=CARD.halo_px)
    assert make_grid(grid.slide, grid.slide_mpp, card) == make_grid(
        grid.slide, grid.slide_mpp, CARD, halo_px=halo_px
    )


def test_a_patch_that_does_not_exist_is_an_index_error() -> None:
    grid = make_grid(Size(9000, 9000), 0.5, CARD)

    with pytest.raises(IndexError):
        grid.patch_core(grid.patch_columns * grid.patch_rows)


def test_other_slices_per_side_change_the_patch() -> None:
    grid = make_grid(Size(9000, 9000), 0.5, replace(CARD, slices_per_side=2))

    assert (grid.patch_px, grid.patch_columns) == (1024, 5)


@given(grids, st.data())
def test_a_centred_context_is_a_window_of_the_patchs_size_about_each_slice(
    grid: Grid, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, grid.patch_columns * grid.patch_rows - 1))
    steps = range(grid.slices_per_side)
    slices = [(x, y) for y in steps for x in steps]
    patch = grid.patch_view(index, slices)

    view = replace(grid, context="centred").patch_view(index, slices)

    assert (view.region, view.corners, view.windows) == (patch.region, patch.corners, patch.windows)
    for window, one in zip(view.context_windows, view.slices, strict=True):
        assert window == one.grown((patch.context.width - TILE_PX) // 2)
        assert window.intersect(view.context) == window
    assert view.context_network_px % 32 == 0
    wanted = grid.context_network_px / patch.context.width
    assert abs(view.context.width * wanted - view.context_network_px) <= 1.01 * wanted
    assert view.context_window_network_px == grid.context_network_px
    assert patch.context_windows == ()


@pytest.mark.parametrize(
    ("window", "mpp", "windows", "side"),
    [
        ("slice", 0.467, 5, 640),
        ("quarter", 0.467, 2, 1408),
        ("patch", 0.467, 1, 2688),
        ("quarter", 0.65, 2, 1344),
    ],
)
def test_a_window_labels_a_slice_a_quarter_or_the_patch(
    window: WindowSpan, mpp: float, windows: int, side: int
) -> None:
    grid = make_grid(Size(9000, 9000), mpp, CARD, window=window)
    assert (grid.windows_per_side, grid.slice_network_px) == (windows, side)
    assert grid.windows_per_side * grid.window_core_px == grid.patch_px
    assert make_grid(Size(9000, 9000), mpp, replace(CARD, window=window)) == grid


@given(
    wanted=st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1),
    window=st.sampled_from(["slice", "quarter", "patch"]),
    context=st.sampled_from(["patch", "centred"]),
)
def test_windows_lie_at_the_same_places_whatever_is_wanted_and_cover_it(
    wanted: set[tuple[int, int]], window: WindowSpan, context: ContextMode
) -> None:
    grid = make_grid(Size(20_000, 20_000), 0.467, replace(CARD, context=context), window=window)
    everything = grid.patch_view(1, [(x, y) for y in range(5) for x in range(5)])
    view = grid.patch_view(1, sorted(wanted))

    assert set(view.corners) <= set(everything.corners)
    assert len(everything.corners) == grid.windows_per_side**2
    covered = np.zeros((grid.patch_px, grid.patch_px), bool)
    core = grid.patch_core(1)
    for slice_ in view.slices:
        at = slice_.moved(-core.x, -core.y)
        covered[at.y : at.bottom, at.x : at.right] = True
    for x, y in wanted:
        assert covered[y * TILE_PX : (y + 1) * TILE_PX, x * TILE_PX : (x + 1) * TILE_PX].all()
    side = view.region.width - view.window_px
    assert all(0 <= x <= side and 0 <= y <= side for x, y in view.windows)
    for slice_, seen in zip(view.slices, view.context_windows, strict=context == "centred"):
        assert (seen.x + seen.right, seen.y + seen.bottom) == (
            slice_.x + slice_.right,
            slice_.y + slice_.bottom,
        )
        assert seen.width == 2688
        assert view.context.intersect(seen) == seen
