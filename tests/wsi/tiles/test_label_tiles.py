"""Label tiles for viewers: those of a job that runs are those of the pyramid it will leave."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from wsi.errors import LabelStoreError, LabelTiffError
from wsi.geometry import Size
from wsi.grid import TILE_PX, Grid, InputGeometry, make_grid
from wsi.palette import LabelClass, Palette
from wsi.tiles.growing_labels import GrowingLabels
from wsi.tiles.levels import has_tile, level_count, level_size
from wsi.tiles.patch_folder import PatchFolder
from wsi.tiles.stored_labels import StoredLabels
from wsi.writing.label_store import LabelStore
from wsi.writing.patch_file import patch_path
from wsi.writing.pyramid import write_label_pyramids
from wsi.writing.tile_codec import decode_tile

PALETTE = Palette((LabelClass(1, "one", (0, 0, 0)),))


def grid_of(width: int, height: int, slices_per_side: int) -> Grid:
    """Grid of a label map of this size, of patches of so many slices."""
    return make_grid(Size(width, height), 1.0, InputGeometry(1.0, 5, slices_per_side, 0))


def blobs(grid: Grid, index: int) -> NDArray[np.uint8]:
    """Labels of a patch in blobs of all sizes, odd ones too."""
    rng = np.random.default_rng(index)
    labels = np.zeros((grid.patch_px, grid.patch_px), np.uint8)
    for _ in range(60):
        x, y = rng.integers(0, grid.patch_px, 2)
        width, height = rng.integers(1, 1 + grid.patch_px // int(rng.choice([2, 10, 200])), 2)
        labels[y : y + height, x : x + width] = rng.integers(0, 5)
    return labels


def growing(store: Path, grid: Grid) -> GrowingLabels:
    return GrowingLabels(PatchFolder(store, grid.patch_columns * grid.patch_rows), grid)


def fresh(labels: GrowingLabels) -> GrowingLabels:
    """The same labels after a look at the folder, which viewers get four times a second."""
    labels.folder.look()
    return labels


def write_pyramid(store: Path, grid: Grid, folder: Path) -> StoredLabels:
    write_label_pyramids(
        LabelStore(store, grid),
        grid,
        PALETTE,
        {},
        labels=folder / "labels.tif",
        overlay=folder / "overlay.tif",
    )
    return StoredLabels(folder / "labels.tif")


def pixels(encoded: bytes | None) -> NDArray[np.uint8]:
    return np.zeros((TILE_PX, TILE_PX), np.uint8) if encoded is None else decode_tile(encoded)


def every_tile(size: Size) -> list[tuple[int, int, int]]:
    return [
        (level, column, row)
        for level in range(level_count(size))
        for row in range(level_size(size, level).tiles(TILE_PX).height)
        for column in range(level_size(size, level).tiles(TILE_PX).width)
    ]


@pytest.mark.parametrize(
    ("width", "height", "slices_per_side"),
    [(2500, 1300, 2), (5119, 2561, 5), (1025, 513, 1), (700, 3, 3), (512, 512, 5), (33_000, 1027, 5)],
)
def test_tiles_of_a_running_job_are_those_of_the_finished_one(
    tmp_path: Path, width: int, height: int, slices_per_side: int
) -> None:
    grid = grid_of(width, height, slices_per_side)
    store = tmp_path / "patches"
    running = growing(store, grid)
    for index in range(grid.patch_columns * grid.patch_rows):
        LabelStore(store, grid).write(index, blobs(grid, index))
        fresh(running).encoded(level_count(running.size) - 1, 0, 0)  # as a viewer does meanwhile
    finished = write_pyramid(store, grid, tmp_path)
    for tile in every_tile(grid.label_size):
        assert np.array_equal(pixels(running.encoded(*tile)), pixels(finished.encoded(*tile))), tile


def test_a_finished_pyramid_is_served_as_it_is_stored(tmp_path: Path) -> None:
    grid = grid_of(2500, 1300, 2)
    for index in range(6):
        LabelStore(tmp_path / "patches", grid).write(index, blobs(grid, index))
    finished = write_pyramid(tmp_path / "patches", grid, tmp_path)
    with tifffile.TiffFile(tmp_path / "labels.tif") as tiff:
        for level, page in enumerate(tiff.pages):
            whole = page.asarray()
            for _, column, row in (tile for tile in every_tile(grid.label_size) if tile[0] == level):
                own = whole[row * 512 : row * 512 + 512, column * 512 : column * 512 + 512]
                served = pixels(finished.encoded(level, column, row))
                assert np.array_equal(served[: own.shape[0], : own.shape[1]], own)
                assert served.sum() == own.sum(), "beyond the map all is 0"


def test_what_is_done_is_final_while_the_rest_is_missing(tmp_path: Path) -> None:
    grid = grid_of(2500, 1300, 1)
    store = tmp_path / "patches"
    running = growing(store, grid)
    done = [0, 3, 7, 14]
    for index in done:
        LabelStore(store, grid).write(index, blobs(grid, index))
    shown = {tile: pixels(fresh(running).encoded(*tile)) for tile in every_tile(grid.label_size)}
    for index in range(15):
        LabelStore(store, grid).write(index, blobs(grid, index))
    finished = write_pyramid(store, grid, tmp_path)
    for (level, column, row), tile in shown.items():
        final = pixels(finished.encoded(level, column, row))
        covered = np.zeros_like(tile, bool)
        for index in done:
            core = grid.patch_core(index)
            x, y, side = (core.x >> level) - column * 512, (core.y >> level) - row * 512, core.width >> level
            covered[max(0, y) : max(0, y + side), max(0, x) : max(0, x + side)] = True
        assert np.array_equal(tile[covered], final[covered])
        assert not tile[~covered].any(), "nothing is shown where nothing is stored"


def test_above_level_9_a_pixel_is_final_when_all_its_patches_are(tmp_path: Path) -> None:
    grid = grid_of(263_000, 1100, 1)
    store = tmp_path / "patches"
    full = np.full((512, 512), 2, np.uint8)
    running = growing(store, grid)
    first = LabelStore(store, grid)
    first.write(0, full)
    assert pixels(fresh(running).encoded(10, 0, 0))[0, 0] == 0, "a quarter of the pixel"
    for index in (1, 514, 515, 6, 513):
        first.write(index, full)
    top = pixels(fresh(running).encoded(10, 0, 0))
    assert top[0, 0] == 2
    finished = write_pyramid(store, grid, tmp_path)
    assert np.array_equal(top, pixels(finished.encoded(10, 0, 0)))
    assert np.array_equal(pixels(running.encoded(9, 0, 0)), pixels(finished.encoded(9, 0, 0)))


def test_only_the_patches_under_a_tile_change_it(tmp_path: Path) -> None:
    grid = grid_of(5120, 5120, 2)
    store = tmp_path / "patches"
    running = growing(store, grid)
    for index in (0, 1, 24):
        LabelStore(store, grid).write(index, blobs(grid, index))
    fresh(running)
    assert list(running.patches_under(0, 1, 1)) == [0]
    assert list(running.patches_under(0, 5, 5)) == []
    assert list(running.patches_under(1, 1, 0)) == [1]
    assert list(running.patches_under(4, 0, 0)) == [0, 1, 24]


def test_tiles_outside_are_none(tmp_path: Path) -> None:
    grid = grid_of(1000, 1000, 2)
    LabelStore(tmp_path / "patches", grid).write(0, np.ones((1024, 1024), np.uint8))
    running = growing(tmp_path / "patches", grid)
    finished = write_pyramid(tmp_path / "patches", grid, tmp_path)
    assert [level_count(grid.label_size), has_tile(grid.label_size, 1, 0, 0)] == [2, True]
    for address in [(-1, 0, 0), (0, -1, 0), (0, 0, 2), (0, 2, 0), (2, 0, 0), (10**9, 0, 0), (0, 10**30, 0)]:
        assert not has_tile(grid.label_size, *address)
        assert running.encoded(*address) is None
        assert finished.encoded(*address) is None


def test_stored_patches_come_in_the_order_of_time(tmp_path: Path) -> None:
    grid = grid_of(2500, 1300, 1)
    folder = PatchFolder(tmp_path / "patches", 15)
    assert not folder.look()
    for index in (7, 2, 11):
        LabelStore(tmp_path / "patches", grid).write(index, blobs(grid, index))
        (tmp_path / "patches" / ".patch-000003.tif.0123.partial").write_bytes(b"being written")
        assert list(folder.look())[-1] == index
    (tmp_path / "patches" / "patch-000999.tif").write_bytes(b"of no patch of this grid")
    assert list(PatchFolder(tmp_path / "patches", 15).stored()) == [7, 2, 11]


@pytest.mark.parametrize("level", [0, 1, 5])
def test_a_patch_that_vanished_is_an_error_and_not_glass(tmp_path: Path, level: int) -> None:
    grid = grid_of(17_000, 600, 2)
    store = tmp_path / "patches"
    LabelStore(store, grid).write(0, np.ones((1024, 1024), np.uint8))
    running = fresh(growing(store, grid))
    patch_path(store, 0).unlink()
    with pytest.raises(LabelStoreError, match="Patch 0"):
        running.encoded(level, 0, 0)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_damaged_patch_is_a_clear_error(tmp_path: Path, share: float) -> None:
    grid = grid_of(1000, 1000, 2)
    store = tmp_path / "patches"
    LabelStore(store, grid).write(0, blobs(grid, 0))
    path = patch_path(store, 0)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(LabelStoreError, match="damaged"):
        growing(store, grid).encoded(1, 0, 0)


def test_a_patch_file_is_a_pyramid_that_any_reader_opens(tmp_path: Path) -> None:
    grid = grid_of(5000, 5000, 5)
    labels = blobs(grid, 0)
    LabelStore(tmp_path, grid).write(0, labels)
    with tifffile.TiffFile(tmp_path / "patch-000000.tif") as tiff:
        assert [page.shape for page in tiff.pages] == [(2560 >> level,) * 2 for level in range(6)]
        assert np.array_equal(tiff.pages[0].asarray(), labels)
        assert set(np.unique(tiff.pages[5].asarray())) <= set(np.unique(labels)), "no class is invented"


def test_a_file_that_is_no_label_pyramid_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.tif").write_bytes(b"nonsense")
    with pytest.raises(LabelTiffError, match="Run the job again"):
        StoredLabels(tmp_path / "labels.tif")
    tifffile.imwrite(tmp_path / "labels.tif", np.zeros((64, 64), np.uint8))
    with pytest.raises(LabelTiffError):
        StoredLabels(tmp_path / "labels.tif")


def test_every_patch_rect_is_whole_down_to_level_9() -> None:
    for slices_per_side in (1, 3, 5, 7):
        grid = grid_of(20_000, 20_000, slices_per_side)
        cores = [grid.patch_core(index) for index in range(grid.patch_columns * grid.patch_rows)]
        assert all(core.x % 512 == core.y % 512 == core.width % 512 == 0 for core in cores)
