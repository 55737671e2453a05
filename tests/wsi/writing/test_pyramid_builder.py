"""Pyramids that are built incrementally, as patches are stored, are those that are built at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi.errors import WsiError
from wsi.geometry import Size
from wsi.grid import TILE_PX, Grid, InputGeometry, make_grid
from wsi.palette import LabelClass, Palette
from wsi.writing.label_store import LabelStore
from wsi.writing.pyramid import LabelPyramids, PyramidSummary, write_label_pyramids

PALETTE = Palette((LabelClass(1, "a", (0, 0, 0)), LabelClass(2, "b", (255, 0, 0))))
CARD = InputGeometry(mpp=1.0, context_ratio=5, slices_per_side=3, halo_px=64)
"""Patches of 3 tiles a side: subtrees of 4 tiles lie on several of them."""
SIZES = ((900, 700), (3 * TILE_PX, 2 * TILE_PX), (4700, 3300))


def grid_of(width: int, height: int) -> Grid:
    return make_grid(Size(width, height), 1.0, CARD)


def stored(folder: Path, grid: Grid, seed: int) -> tuple[LabelStore, list[int]]:
    """Store patches of random labels, without about a third of them; return the store and those left out."""
    rng = np.random.default_rng(seed)
    store, left_out = LabelStore(folder, grid), []
    for patch in range(grid.patch_columns * grid.patch_rows):
        if rng.random() < 0.3:
            left_out.append(patch)
        else:
            store.write(patch, labels_of(grid, rng))
    return store, left_out


def labels_of(grid: Grid, rng: np.random.Generator) -> NDArray[np.uint8]:
    coarse = rng.integers(0, 3, (grid.patch_px // 64,) * 2, np.uint8)
    return coarse.repeat(64, 0).repeat(64, 1)


def written(folder: Path, pyramids: LabelPyramids) -> PyramidSummary:
    files = {"labels": folder / "labels.tif", "overlay": folder / "overlay.tif"}
    return pyramids.write(PALETTE, {"software": "x"}, **files, threads=2)


@given(size=st.sampled_from(SIZES), seed=st.integers(0, 2**16), ahead=st.floats(0, 1))
@settings(max_examples=12)
def test_files_are_the_same_whatever_was_built_ahead_and_in_which_order(
    tmp_path_factory: pytest.TempPathFactory, size: tuple[int, int], seed: int, ahead: float
) -> None:
    folder, grid = tmp_path_factory.mktemp("pyramids"), grid_of(*size)
    store, left_out = stored(folder / "patches", grid, seed)
    files = {"labels": folder / "at-once.tif", "overlay": folder / "at-once-overlay.tif"}
    expected = write_label_pyramids(store, grid, PALETTE, {"software": "x"}, **files)
    rng = np.random.default_rng(seed)
    patches = [n for n in range(grid.patch_columns * grid.patch_rows) if n not in left_out]
    now = [patch for patch in rng.permutation(patches).tolist() if rng.random() < ahead]
    with LabelPyramids(store, grid, folder) as pyramids:
        build = pyramids.ahead(now)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(build.stored, now))
        assert written(folder, pyramids) == expected
    for name, at_once in (("labels.tif", files["labels"]), ("overlay.tif", files["overlay"])):
        assert (folder / name).read_bytes() == at_once.read_bytes()


def test_a_subtree_is_built_when_the_last_patch_on_it_is_stored_and_only_then(tmp_path: Path) -> None:
    grid = grid_of(4 * TILE_PX, 4 * TILE_PX)
    assert (grid.patch_columns, grid.patch_rows) == (2, 2), "one subtree lies on four patches"
    store, read = LabelStore(tmp_path / "patches", grid), []

    class Watched:
        def encoded_tile(self, column: int, row: int) -> bytes | None:
            read.append((column, row))
            return store.encoded_tile(column, row)

    rng = np.random.default_rng(1)
    with LabelPyramids(Watched(), grid, tmp_path) as pyramids:
        build = pyramids.ahead(range(4))
        for patch in range(3):
            store.write(patch, labels_of(grid, rng))
            build.stored(patch)
            assert not read
        store.write(3, labels_of(grid, rng))
        build.stored(3)
        assert sorted(read) == [(x, y) for x in range(4) for y in range(4)]
        written(tmp_path, pyramids)
    assert len(read) == 16, "nothing is read twice"


def test_a_patch_that_cannot_be_read_back_is_an_error_at_once(tmp_path: Path) -> None:
    grid = grid_of(TILE_PX, TILE_PX)
    store = LabelStore(tmp_path / "patches", grid)
    store.write(0, np.ones((grid.patch_px, grid.patch_px), np.uint8))
    assert store.encoded_tile(0, 0)
    for file in (tmp_path / "patches").iterdir():
        file.unlink()
    with LabelPyramids(store, grid, tmp_path) as pyramids, pytest.raises(WsiError):
        pyramids.ahead([0]).stored(0)
    assert not list(tmp_path.glob("*.tif")), "nothing is left of what was built"
