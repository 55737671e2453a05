"""Seams found where they were made, and none where none were."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.seam_strips import (
    BLOCK_PX,
    STRIP_PX,
    Corner,
    SeamRatio,
    by_quarters,
    count_step,
    count_strips,
)
from benchmarks.seams import GOOD_RATIO, HaloRow, Seams, cheapest, measure_seams, table_of
from model.card import NetworkConfig
from model.inference.transfer import PendingLabels
from wsi.grid import TILE_PX, InputGeometry
from wsi.patch_view import PatchView
from wsi.reading.slide import open_slide

MIDDLE = BLOCK_PX // 2
ONES = np.ones((BLOCK_PX, BLOCK_PX), np.uint8)


def lines(*places: slice) -> NDArray[np.uint8]:
    """All 1, and 2 in some columns."""
    labels = ONES.copy()
    for place in places:
        labels[:, place] = 2
    return labels


BORDER = slice(MIDDLE - STRIP_PX, MIDDLE + STRIP_PX)
INTERIOR = (slice(0, 2 * STRIP_PX), slice(BLOCK_PX - 2 * STRIP_PX, BLOCK_PX))


def test_border_and_interior_strips_lie_half_a_tile_apart() -> None:
    on_border = count_strips(lines(BORDER), ONES, upright=True, level=False)
    inside = count_strips(lines(*INTERIOR), ONES, upright=True, level=False)
    between = lines(slice(2 * STRIP_PX, BORDER.start), slice(BORDER.stop, INTERIOR[1].start))

    border_wrong, border_seen, interior_wrong, interior_seen = on_border.tolist()
    assert (border_wrong, interior_wrong) == (border_seen, 0)
    assert inside.tolist() == [0, border_seen, interior_seen, interior_seen]
    assert border_seen == 2 * STRIP_PX * TILE_PX // 2
    assert count_strips(between, ONES, upright=True, level=False)[[0, 2]].tolist() == [0, 0]


@given(st.integers(0, 2**32 - 1))
def test_a_turned_corner_counts_the_same(seed: int) -> None:
    labels, judge = np.random.default_rng(seed).integers(0, 3, (2, BLOCK_PX, BLOCK_PX), np.uint8)

    counts = count_strips(labels, judge, upright=True, level=False)

    np.testing.assert_array_equal(count_strips(labels.T, judge.T, upright=False, level=True), counts)
    both = count_strips(labels, judge, upright=True, level=True)
    np.testing.assert_array_equal(both - counts, count_strips(labels, judge, upright=False, level=True))
    np.testing.assert_array_equal(count_strips(labels, labels, upright=True, level=True)[[0, 2]], [0, 0])
    assert counts[1] < count_strips(ONES, judge, upright=True, level=False)[1], "0 is no label"


def test_the_context_step_is_where_two_patches_disagree() -> None:
    judges = {0: ONES, 1: ONES * 2, 2: ONES, 3: ONES}
    upright = Corner(512, 512, upright=True, level=False, patches=(0, 1, 0, 1))
    same = Corner(512, 512, upright=True, level=False, patches=(0, 2, 0, 2))
    cross = Corner(512, 512, upright=True, level=True, patches=(0, 1, 2, 3))

    for corner, share in ((upright, 1.0), (same, 0.0), (cross, 0.5)):
        wrong, seen, *_ = count_step(ONES, judges, corner).tolist()
        assert wrong == share * seen > 0 or (share == 0 and wrong == 0 < seen)
    assert by_quarters(judges, upright.patches).tolist() == lines(slice(MIDDLE, None)).tolist()


def test_no_corner_and_no_disagreement_give_no_ratio() -> None:
    assert SeamRatio.of([]) == SeamRatio(0, None, None, None, None, None)
    alike = SeamRatio.of([np.array([0, 10, 0, 10])] * 3)
    assert (alike.border, alike.interior, alike.ratio) == (0, 0, None)
    clear = SeamRatio.of([np.array([4, 10, 2, 10])] * 3)
    assert (clear.ratio, clear.low, clear.high) == (2, 2, 2)


class Edgy:
    """A Segmenter that labels by brightness, wrong within 40 px of a window's edge and for every 8th px."""

    WRONG_PX = 40
    card = SimpleNamespace(
        input=InputGeometry(mpp=1.0, context_ratio=4, slices_per_side=2, halo_px=16), network=NetworkConfig()
    )

    def __init__(self) -> None:
        self._noise = np.random.default_rng(0).random((3000, 3000)) < 1 / 8
        self._calls = 0

    def label_patch(
        self, pixels: NDArray[np.uint8], view: PatchView, *, context: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        assert (context is None) == (not view.context_windows)
        labels: list[NDArray[np.uint8]] = []
        for x, y in view.windows:
            assert 0 <= min(x, y) <= max(x, y) <= len(pixels) - view.window_px
            self._calls += 1
            start = 7 * self._calls % 1400
            wrong = self._noise[start : start + view.window_px, start : start + view.window_px].copy()
            edge = np.ones_like(wrong)
            edge[self.WRONG_PX : -self.WRONG_PX, self.WRONG_PX : -self.WRONG_PX] = False
            true = pixels[y : y + view.window_px, x : x + view.window_px, 1] > 120
            kept = slice(view.halo_px, view.window_px - view.halo_px)
            labels.append((true ^ (wrong | edge))[kept, kept] + np.uint8(1))
        return np.array(labels, np.uint8)

    def submit(
        self,
        pixels: NDArray[np.uint8],
        view: PatchView,
        *,
        context: NDArray[np.uint8] | None = None,
        **_: object,
    ) -> PendingLabels:
        return PendingLabels(torch.from_numpy(self.label_patch(pixels, view, context=context)))

    def collect(self, pending: PendingLabels, **_: object) -> NDArray[np.uint8]:
        return pending.wait()


class Centred(Edgy):
    """The same with a context centred on each slice; `judged` are the views of judges."""

    card = SimpleNamespace(input=replace(Edgy.card.input, context="centred"), network=NetworkConfig())

    def __init__(self) -> None:
        super().__init__()
        self.judged: list[PatchView] = []

    def label_patch(self, pixels: NDArray[np.uint8], view: PatchView, **context: Any) -> NDArray[np.uint8]:
        if view.slice_px == BLOCK_PX:
            self.judged.append(view)
        return super().label_patch(pixels, view, **context)


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of 4 x 4 tiles in 2 x 2 patches."""
    path = tmp_path_factory.mktemp("seams") / "noise.tif"
    noise = np.random.default_rng(1).integers(60, 180, (128, 128, 3), np.uint8)
    tags = {"resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER", "tile": (512, 512)}
    tifffile.imwrite(path, noise.repeat(16, 0).repeat(16, 1), photometric="rgb", **tags)
    return path


@pytest.fixture(scope="module")
def seams(noise: Path) -> Seams:
    with open_slide(noise) as slide:
        return measure_seams(slide, Edgy(), halos_px=(0, 48))  # type: ignore[arg-type]


def test_where_contexts_are_centred_one_judge_centred_on_the_corner_speaks_for_all_patches(
    noise: Path,
) -> None:
    segmenter = Centred()
    with open_slide(noise) as slide:
        found = measure_seams(slide, segmenter, halos_px=(48,))  # type: ignore[arg-type]
    assert found.context_step == 0
    assert len(segmenter.judged) == found.halos[0].tile.corners + found.halos[0].patch.corners
    for view in segmenter.judged:
        (window,), (block,) = view.context_windows, view.slices
        assert window == block.grown((1056 - BLOCK_PX) // 2)


def test_a_halo_as_wide_as_what_edges_spoil_leaves_no_seam(seams: Seams) -> None:
    without, wide = seams.halos
    for kind in ("tile", "patch"):
        spoilt, clean = getattr(without, kind), getattr(wide, kind)
        assert spoilt.border > 0.8, "all of the strip is within 40 px of an edge"
        assert spoilt.ratio > 3
        assert clean.ratio == pytest.approx(1, abs=0.05)
        assert clean.low < clean.ratio < clean.high
    assert (wide.tile.corners, wide.patch.corners) == (4, 5)
    assert cheapest(seams.halos[:1]) is None


def test_the_cheapest_halo_is_the_narrowest_whose_ratios_are_all_low(seams: Seams) -> None:
    def row(halo_px: int, tile: float | None, patch: float | None) -> HaloRow:
        ratios = (SeamRatio(1, None, None, ratio, None, None) for ratio in (tile, patch))
        return replace(seams.halos[0], halo_px=halo_px, **dict(zip(("tile", "patch"), ratios, strict=True)))

    limit = GOOD_RATIO
    wide, narrow = row(128, limit, 1.0), row(64, limit, None)
    assert cheapest([wide, narrow]) == 64
    assert cheapest([wide, row(64, 1.0, limit + 0.01)]) == 128
    assert cheapest([row(64, None, None)]) is None


def test_a_wider_halo_costs_more(seams: Seams) -> None:
    without, wide = seams.halos
    assert without.input_px_per_output_px == pytest.approx(1 + (256 / 1024) ** 2)
    assert wide.input_px_per_output_px > without.input_px_per_output_px
    assert min(without.seconds, wide.megapixels_per_second) > 0


def test_the_table_has_a_row_a_halo(seams: Seams) -> None:
    heading, *rows = table_of(seams.halos)
    assert [row[0] for row in rows] == ["0", "48"]
    assert {len(row) for row in rows} == {len(heading)}
    cells = dict(zip(heading, rows[0], strict=False))
    tile = seams.halos[0].tile
    assert cells["tile borders"] == f"{tile.ratio:.2f}"
    assert cells["network px per label px"] == "1.06"
    missing = replace(seams.halos[0], tile=SeamRatio.of([]))
    assert table_of([missing])[1][1:3] == ["-", "-"]
