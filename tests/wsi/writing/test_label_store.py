"""Finished patches: exact, whole or absent, and of use to the pyramid as they are."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from wsi.errors import LabelStoreError
from wsi.geometry import Size
from wsi.grid import TILE_PX, Grid, InputGeometry, make_grid
from wsi.writing.label_store import LabelStore
from wsi.writing.tile_codec import decode_tile


@pytest.fixture
def grid() -> Grid:
    """Label map of 2500 x 1300 px: 3 x 2 patches of 2 x 2 tiles, the right and lower ones cut."""
    return make_grid(Size(5000, 2600), 0.467, InputGeometry(0.934, 5, slices_per_side=2, halo_px=64))


@pytest.fixture
def labels(grid: Grid) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(4).integers(0, 5, (64, 64), dtype=np.uint8)
    return coarse.repeat(16, 0).repeat(16, 1)


def test_tiles_come_back_in_the_frame_of_the_label_map(tmp_path: Path, grid: Grid, labels) -> None:
    store = LabelStore(tmp_path / "patches", grid)

    store.write(1, labels)

    for x, y in ((0, 0), (1, 0), (0, 1), (1, 1)):
        tile = store.tile(2 + x, y)
        assert tile is not None
        assert (tile == labels[y * TILE_PX : (y + 1) * TILE_PX, x * TILE_PX : (x + 1) * TILE_PX]).all()
        encoded = store.encoded_tile(2 + x, y)
        assert encoded is not None
        assert (decode_tile(encoded) == tile).all()


def test_what_is_not_stored_is_none(tmp_path: Path, grid: Grid, labels) -> None:
    store = LabelStore(tmp_path / "patches", grid)
    assert store.finished() == frozenset()
    store.write(0, labels)

    assert store.finished() == {0}
    assert store.tile(2, 0) is None
    assert store.tile(99, 0) is None
    assert store.tile(-1, 0) is None


def test_tiles_without_labels_are_none(tmp_path: Path, grid: Grid, labels) -> None:
    labels[:TILE_PX, :TILE_PX] = 0
    store = LabelStore(tmp_path, grid)

    store.write(0, labels)

    assert store.tile(0, 0) is None
    assert store.encoded_tile(0, 0) is None
    assert np.array_equal(store.tile(1, 0), labels[:TILE_PX, TILE_PX:])


def test_what_sticks_out_of_the_label_map_is_zero(tmp_path: Path, grid: Grid) -> None:
    store = LabelStore(tmp_path, grid)

    store.write(5, np.full((1024, 1024), 3, np.uint8))  # at (2048, 1024) of 2500 x 1300

    tile = store.tile(4, 2)
    assert tile is not None
    assert (tile[: 1300 - 1024, : 2500 - 2048] == 3).all()
    assert not tile[1300 - 1024 :].any()
    assert not tile[:, 2500 - 2048 :].any()
    assert store.tile(5, 2) is None


def test_a_patch_becomes_visible_to_a_reader_that_already_looked(tmp_path: Path, grid: Grid, labels) -> None:
    writer, reader = LabelStore(tmp_path, grid), LabelStore(tmp_path, grid)
    assert reader.tile(0, 0) is None

    writer.write(0, labels)

    assert np.array_equal(reader.tile(0, 0), labels[:TILE_PX, :TILE_PX])
    assert reader.finished() == {0}


def test_truncated_and_foreign_files_do_not_count(tmp_path: Path, grid: Grid, labels) -> None:
    store = LabelStore(tmp_path, grid)
    store.write(0, labels)
    good = (tmp_path / "patch-000000.tif").read_bytes()
    (tmp_path / "patch-000001.tif").write_bytes(good[: len(good) * 2 // 3])
    (tmp_path / "patch-000002.tif").write_bytes(b"nonsense")
    tifffile.imwrite(tmp_path / "patch-000003.tif", labels)
    (tmp_path / "patch-000400.tif").write_bytes(good)
    (tmp_path / "readme.txt").write_text("hello")

    assert LabelStore(tmp_path, grid).finished() == {0}


def test_many_writers_of_one_patch_agree(tmp_path: Path, grid: Grid, labels) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: LabelStore(tmp_path, grid).write(2, labels), range(8)))

    assert [file.name for file in tmp_path.iterdir()] == ["patch-000002.tif"]
    assert LabelStore(tmp_path, grid).finished() == {2}
    before = (tmp_path / "patch-000002.tif").read_bytes()
    LabelStore(tmp_path, grid).write(2, labels)
    assert (tmp_path / "patch-000002.tif").read_bytes() == before


def test_patch_files_are_ordinary_tiffs(tmp_path: Path, grid: Grid, labels) -> None:
    LabelStore(tmp_path, grid).write(0, labels)

    assert (tifffile.imread(tmp_path / "patch-000000.tif") == labels).all()


@pytest.mark.parametrize("bad", [np.zeros((512, 512), np.uint8), np.zeros((1024, 1024), np.int64)])
def test_other_shapes_and_types_are_refused(tmp_path: Path, grid: Grid, bad: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="1024 px square uint8"):
        LabelStore(tmp_path, grid).write(0, bad)


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path, grid: Grid, labels) -> None:
    (tmp_path / "patches").write_text("a file where the folder should be")

    with pytest.raises(LabelStoreError, match="Patch 0"):
        LabelStore(tmp_path / "patches", grid).write(0, labels)


def test_a_patch_that_vanished_is_a_clear_error(tmp_path: Path, grid: Grid, labels) -> None:
    store = LabelStore(tmp_path, grid)
    store.write(0, labels)
    assert store.finished() == {0}
    (tmp_path / "patch-000000.tif").unlink()

    with pytest.raises(LabelStoreError, match="run it again"):
        store.tile(0, 0)


def test_a_deleted_job_does_not_come_back(tmp_path: Path, grid: Grid, labels) -> None:
    store = LabelStore(tmp_path / "job" / "patches", grid)

    with pytest.raises(LabelStoreError, match=r"folder job is gone\. Was the job deleted"):
        store.write(0, labels)

    assert not (tmp_path / "job").exists()
