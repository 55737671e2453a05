"""Plans: each tile with tissue exactly once, and windows that lie in the region that is read."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi.errors import PlanFormatError
from wsi.geometry import Rect, Size
from wsi.grid import TILE_PX, InputGeometry, make_grid
from wsi.plan import Plan, make_plan
from wsi.tissue import TissueMask


@st.composite
def plans(draw: st.DrawFn) -> tuple[Plan, TissueMask]:
    card = InputGeometry(0.934, 5, draw(st.integers(1, 5)), 16 * draw(st.integers(0, 8)))
    size = Size(draw(st.integers(50, 20_000)), draw(st.integers(50, 20_000)))
    halo_px = draw(st.none() | st.integers(0, 8).map(lambda steps: 16 * steps))
    grid = make_grid(size, draw(st.floats(0.1, 1.8)), card, halo_px=halo_px)
    random = np.random.default_rng(draw(st.integers(0, 99)))
    mask = random.random((grid.tile_rows, grid.tile_columns)) < draw(st.sampled_from([0, 0.2, 1]))
    tissue = TissueMask(mask, grid.downsample * TILE_PX)
    return make_plan(grid, tissue), tissue


@given(plans())
def test_each_tile_with_tissue_is_in_exactly_one_patch(planned: tuple[Plan, TissueMask]) -> None:
    plan, tissue = planned
    done = np.zeros(tissue.mask.shape, int)
    for patch in plan.patches:
        core = plan.grid.patch_core(patch.index)
        assert (patch.column * plan.grid.patch_px, patch.row * plan.grid.patch_px) == (core.x, core.y)
        assert patch.slices
        for column, row in patch.slices:
            done[core.y // TILE_PX + row, core.x // TILE_PX + column] += 1

    assert (done == tissue.mask).all()
    assert [patch.index for patch in plan.patches] == sorted({patch.index for patch in plan.patches})


@given(plans())
def test_windows_lie_in_the_region_around_their_tile(planned: tuple[Plan, TissueMask]) -> None:
    plan, _tissue = planned
    grid = plan.grid
    for patch in plan.patches[:3]:
        core = grid.patch_core(patch.index)
        for (x, y), (column, row) in zip(plan.view(patch).windows, patch.slices, strict=True):
            window = Rect(x, y, grid.window_px, grid.window_px)
            assert window.intersect(Rect(0, 0, grid.region_px, grid.region_px)) == window
            margin_px = grid.region_margin_px
            on_map = window.grown(-grid.halo_px).moved(core.x - margin_px, core.y - margin_px)
            assert on_map == Rect(core.x + column * TILE_PX, core.y + row * TILE_PX, TILE_PX, TILE_PX)


@given(plans())
def test_a_plan_survives_json(planned: tuple[Plan, TissueMask]) -> None:
    plan, _tissue = planned

    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize("data", [{}, {"grid": {}, "patches": []}, {"grid": 3, "patches": []}])
def test_a_foreign_plan_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(PlanFormatError, match="made anew"):
        Plan.from_json(data)
