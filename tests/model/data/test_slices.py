"""Slices planned as the paper does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.data.phantom import PHANTOM_CLASSES
from model.data.slices import (
    PAPER_INPUT,
    PAPER_QUOTAS,
    Candidates,
    Quota,
    count_blocks,
    draw_balanced,
    find_candidates,
    screen,
)
from model.errors import CohortError
from wsi.geometry import Rect, Size
from wsi.grid import Grid, make_grid
from wsi.tissue import TissueMask


def grid_of(width: int, height: int) -> Grid:
    """With label px of 2 l0 px."""
    return make_grid(Size(2 * width, 2 * height), 0.467, PAPER_INPUT)


def everywhere(grid: Grid) -> TissueMask:
    return TissueMask.everywhere(grid, Rect.of(grid.slide))


def write_truth(path: Path, truth: NDArray[np.uint8]) -> Path:
    tifffile.imwrite(path, truth, photometric="minisblack", compression="deflate", tile=(512, 512))
    return path


@given(width=st.integers(1, 1400), height=st.integers(1, 1100), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_shares_are_those_of_the_pixels(
    width: int, height: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    coarse = np.random.default_rng(seed).integers(0, 5, (-(-height // 100), -(-width // 100)), dtype=np.uint8)
    truth = np.kron(coarse, np.ones((100, 100), np.uint8))[:height, :width]
    path = write_truth(tmp_path_factory.getbasetemp() / "truth.tif", truth)
    blocks, grid = count_blocks(path, PHANTOM_CLASSES), grid_of(width, height)

    assert blocks.sum(axis=(0, 1))[1:].tolist() == [np.count_nonzero(truth == value) for value in range(1, 5)]
    found = find_candidates(grid, blocks, everywhere(grid), background=1)
    for number in range(len(found.corners)):
        rect = found.planned(number, 0).rect
        pixels = truth[rect.y : rect.bottom, rect.x : rect.right]
        assert pixels.size == 512 * 512
        expected = np.bincount(pixels.ravel(), minlength=5) / pixels.size
        np.testing.assert_allclose(found.planned(number, 0).shares, expected, atol=1e-6)


def test_a_whole_patch_has_81_slices_row_by_row() -> None:
    grid = grid_of(2 * 2560, 2560)
    blocks = np.full((10, 20, 5), 256 * 256 // 5, np.int64)
    found = find_candidates(grid, blocks, everywhere(grid), background=1)
    slices = [found.planned(number, 3) for number in range(len(found.corners))]
    assert len(slices) == 2 * 81
    assert [s.rect for s in slices[:10]] == [Rect(256 * (k % 9), 256 * (k // 9), 512, 512) for k in range(10)]
    assert [s.patch for s in slices[80:82]] == [Rect(0, 0, 2560, 2560), Rect(2560, 0, 2560, 2560)]
    assert all(s.rect.intersect(s.patch) == s.rect and s.slide == 3 for s in slices)


def test_slices_lie_on_the_slide_and_bare_glass_is_left_out() -> None:
    grid = grid_of(1100, 600)
    blocks = np.zeros((3, 5, 5), np.int64)
    blocks[..., 1] = 256 * 256
    tissue = everywhere(grid)
    assert {tuple(xy) for xy in find_candidates(grid, blocks, tissue, background=1).corners.tolist()} == {
        (0, 0),
        (256, 0),
        (512, 0),
    }
    step = tissue.downsample // grid.downsample
    right = replace(tissue, mask=tissue.mask & (np.arange(tissue.mask.shape[1]) * step >= 800))
    assert find_candidates(grid, blocks, right, background=1).corners.tolist() == [[512, 0]]
    blocks[0, 0] = 0, 0, 256 * 256, 0, 0  # annotated, whatever the mask says
    assert find_candidates(grid, blocks, right, background=1).corners.tolist() == [[0, 0], [512, 0]]
    blocks[...] = 0  # no truth
    assert not len(find_candidates(grid, blocks, tissue, background=1).corners)


def candidates(rare: int, common: int) -> Candidates:
    """Slices with in situ, then slices without."""
    count = rare + common
    shares = np.zeros((count, 5))
    shares[:rare, 3], shares[rare:, 4] = 1, 1
    corners = np.stack((np.arange(count) * 512, np.zeros(count, np.int64)), axis=1)
    return Candidates(2560, corners // 2560 * 2560, corners, shares)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=3), st.integers(0, 99), st.data())
def test_screening_draws_what_is_asked_for_or_all_there_is(
    slides: list[tuple[int, int]], seed: int, data: st.DataObject
) -> None:
    quota = Quota(data.draw(st.integers(0, 20)), data.draw(st.none() | st.integers(0, 20)))
    if quota.rare is not None:
        quota = Quota(quota.slices + quota.rare, quota.rare)
    found = [candidates(*counts) for counts in slides]
    rare, common = sum(r for r, _ in slides), sum(c for _, c in slides)

    drawn = screen(found, quota, np.random.default_rng(seed))

    drawn_rare = sum(s.shares[3] > 0 for s in drawn)
    if quota.rare is None:
        assert len(drawn) == min(quota.slices, rare + common)
    else:
        assert drawn_rare == min(quota.rare, rare)
        assert len(drawn) - drawn_rare == min(quota.slices - quota.rare, common)
    order = [(s.slide, s.rect.x) for s in drawn]
    assert order == sorted(set(order))
    assert drawn == screen(found, quota, np.random.default_rng(seed))


def test_balanced_slices_hold_every_class_about_as_often() -> None:
    rng = np.random.default_rng(1)
    holds = np.zeros((1000, 4), np.bool_)
    holds[:, 0] = True  # normal is nearly everywhere
    holds[:40, 1], holds[40:100, 2], holds[100:400, 3] = True, True, True
    drawn = draw_balanced(holds, 100, rng)
    assert len(set(drawn.tolist())) == 100
    assert drawn.tolist() == sorted(drawn.tolist())
    counts = holds[drawn].sum(0)
    assert counts[1:].min() >= 33
    assert counts[1:].max() <= 34
    # Where a class runs out, the others fill up.
    *few, many = holds[draw_balanced(holds, 200, rng)].sum(0)[1:].tolist()
    assert few == [40, 60]
    assert many >= 99  # the first of all may be one that holds normal alone
    assert len(draw_balanced(holds, 2000, rng)) == 1000
    assert len(draw_balanced(np.zeros((5, 2), np.bool_), 3, rng)) == 3


def test_the_papers_validation_is_balanced() -> None:
    quota = replace(PAPER_QUOTAS["validation"], slices=10)
    drawn = screen([candidates(6, 200)], quota, np.random.default_rng(0))
    assert sum(s.shares[3] > 0 for s in drawn) == 5


def test_another_seed_draws_other_slices() -> None:
    drawn = {screen([candidates(50, 50)], Quota(10, 5), np.random.default_rng(seed)) for seed in range(3)}
    assert len(drawn) == 3


def test_a_value_that_is_no_class_is_refused(tmp_path: Path) -> None:
    path = write_truth(tmp_path / "odd-truth.tif", np.full((600, 600), 5, np.uint8))
    with pytest.raises(CohortError, match=r"odd-truth\.tif has value 5; the classes are 1 normal, 2 benign,"):
        count_blocks(path, PHANTOM_CLASSES)
