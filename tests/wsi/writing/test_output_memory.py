"""Memory of outputs, which must not grow with the slide."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.dicom_slide import write_dicom_slide
from wsi.geometry import Size
from wsi.grid import TILE_PX, Grid, InputGeometry, make_grid
from wsi.palette import LabelClass, Palette
from wsi.writing.dicom_seg import SegmentationOrigin, segmentation_header, write_dicom_seg
from wsi.writing.ome_zarr import write_ome_zarr
from wsi.writing.pyramid import write_label_pyramids
from wsi.writing.tile_codec import encode_tile

PALETTE = Palette((LabelClass(1, "normal", (0, 0, 0)), LabelClass(2, "in situ", (0, 200, 10))))
ORIGIN = SegmentationOrigin("a-model", "3", "0" * 64, PALETTE, "darefine 0")
GRID = make_grid(Size(8192, 8192), 1.0, InputGeometry(1.0, 5, 5, 64))
TAKEN_BYTES = 24 * 2**20
"""A few tiles and chunks of 1 MB, and libraries; the map has 64 MB."""


class Checked:
    """Tiles of noise on every second place, none between."""

    def __init__(self) -> None:
        noise = np.random.default_rng(0).integers(0, 3, (64, 64), np.uint8)
        self.encoded = encode_tile(noise.repeat(TILE_PX // 64, 0).repeat(TILE_PX // 64, 1))

    def encoded_tile(self, column: int, row: int) -> bytes | None:
        return self.encoded if (column + row) % 2 else None


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    pair = {name: folder / f"{name}.tif" for name in ("labels", "overlay")}
    write_label_pyramids(Checked(), GRID, PALETTE, {}, **pair)
    return pair["labels"]


def dicom_seg(labels: Path, grid: Grid, folder: Path) -> None:
    pixels = np.broadcast_to(np.uint8(200), (grid.slide.height, grid.slide.width, 3))
    slide = write_dicom_slide(folder / "slide", pixels, grid.slide_mpp, frames=False)
    segmentation_header(slide, grid, ORIGIN)  # highdicom's own tables, about 110 MB once a process
    taken(lambda: write_dicom_seg(slide, labels, grid, ORIGIN, folder / "labels.dcm"))


def ome_zarr(labels: Path, grid: Grid, folder: Path) -> None:
    taken(lambda: write_ome_zarr(labels, grid, PALETTE, folder / "labels.ome.zarr.zip"))


def taken(work: Callable[[], None]) -> None:
    """Check what is held at most while `work` runs."""
    tracemalloc.start()
    try:
        work()
        assert tracemalloc.get_traced_memory()[1] < TAKEN_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("write", [dicom_seg, ome_zarr])
def test_a_large_map_takes_little_memory(
    write: Callable[[Path, Grid, Path], None], labels: Path, tmp_path: Path
) -> None:
    write(labels, GRID, tmp_path)
