"""Measure polygons of label maps: time and memory by size, and ways to simplify shared borders.

`python -m benchmarks.decisions.regions`
"""

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from rasterio.features import shapes

from model.evaluation.report import markdown
from workers.bench.measure import machine
from workers.bench.memory import MemoryWatch
from wsi.geometry import Rect, Size
from wsi.grid import TILE_PX, InputGeometry, make_grid
from wsi.palette import LabelClass, Palette
from wsi.writing.coverage import Polygons, simplify_coverage
from wsi.writing.geojson import write_regions
from wsi.writing.pyramid import write_label_pyramids
from wsi.writing.region_options import RegionOptions
from wsi.writing.tile_codec import encode_tile

MPP = 0.25
GEOMETRY = InputGeometry(mpp=0.934, context_ratio=5, slices_per_side=5, halo_px=64)
PALETTE = Palette(tuple(LabelClass(v, f"class {v}", (60 * v, 0, 255 - 60 * v)) for v in (1, 2, 3, 4)))
COARSE_PX = 8
"""Label px along the side of a pixel of the random fields, which are enlarged as a network's logits are."""

TOLERANCE_PX = 2.0


class RandomLabels:
    """A TileSource of four classes with ragged borders; about half of it is glass."""

    def __init__(self, size: Size, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        side = max(size.width, size.height) // COARSE_PX + 2

        def field(blur_px: float) -> NDArray[np.float32]:
            noise = rng.normal(128, 40, (side, side)).clip(0, 255).astype(np.uint8)
            smooth = np.asarray(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(blur_px)), np.float32)
            standard: NDArray[np.float32] = (smooth - smooth.mean()) / smooth.std()
            return standard

        self._classes = [1.2 * field(60) + field(2) for _ in PALETTE.classes]
        self._glass = field(80)

    def encoded_tile(self, column: int, row: int) -> bytes | None:
        """Return a tile as the pyramid wants it."""
        labels = self.tile(column, row)
        return encode_tile(labels) if labels.any() else None

    def tile(self, column: int, row: int) -> NDArray[np.uint8]:
        """Return the classes of a tile, (512, 512)."""
        labels = (
            np.argmax([self._cut(one, column, row) for one in self._classes], axis=0).astype(np.uint8) + 1
        )
        labels[self._cut(self._glass, column, row) > 0] = 0
        return np.asarray(labels, np.uint8)

    def _cut(self, field: NDArray[np.float32], column: int, row: int) -> NDArray[np.float32]:
        side = TILE_PX // COARSE_PX
        part = field[row * side : (row + 1) * side + 1, column * side : (column + 1) * side + 1]
        missing = [(0, side + 1 - length) for length in part.shape]
        whole = np.pad(part, missing, mode="edge")
        large = Image.fromarray(whole).resize((TILE_PX + COARSE_PX,) * 2, Image.Resampling.BILINEAR)
        middle = slice(COARSE_PX // 2, COARSE_PX // 2 + TILE_PX)
        return np.asarray(large)[middle, middle]


def traced(side_px: int, folder: str) -> tuple[int, float, float, float]:
    """Return regions, seconds, MB gzipped and MB of memory above idle of a square slide's polygons."""
    grid = make_grid(Size(side_px, side_px), MPP, GEOMETRY)
    labels, overlay, out = (Path(folder) / name for name in ("labels.tif", "overlay.tif", "regions.gz"))
    about = {"mpp": {"label": grid.label_mpp, "downsample": grid.downsample}}
    source = RandomLabels(grid.label_size)
    write_label_pyramids(source, grid, PALETTE, about, labels=labels, overlay=overlay, threads=2)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        seconds, memory_mb, count = pool.apply(_timed, (labels, out))
    return count, seconds, out.stat().st_size / 1e6, memory_mb


def _timed(labels: Path, out: Path) -> tuple[float, float, int]:
    watch, start = MemoryWatch("cpu"), time.perf_counter()
    count = write_regions(labels, out, RegionOptions(PALETTE))
    return time.perf_counter() - start, (watch.peak_mb() or 0) - (watch.idle_mb or 0), count


def by_area(polygons: Polygons, tolerance_px: float, _frame: Rect) -> Polygons:
    """Simplify with shapely's coverage_simplify, which wants every corner in both neighbours."""
    dense = shapely.transform(shapely.segmentize(polygons, 1.0), np.rint)
    simplified: Polygons = shapely.coverage_simplify(dense, tolerance_px, simplify_boundary=False)
    return simplified


WAYS: dict[str, Callable[[Polygons, float, Rect], Polygons]] = {
    "arcs, by distance": simplify_coverage,
    "coverage_simplify, by area": by_area,
}


def compared(labels: NDArray[np.uint8]) -> list[list[Any]]:
    """Return of each way to simplify: corners, seconds, and how far borders moved at most, px."""
    frame = Rect(0, 0, labels.shape[1], labels.shape[0])
    found = [outline for outline, _ in shapes(labels, mask=labels > 0, connectivity=4)]
    polygons = np.array([shapely.geometry.shape(outline) for outline in found], np.object_)
    rows = []
    for name, way in WAYS.items():
        start = time.perf_counter()
        simplified = way(polygons, TOLERANCE_PX, frame)
        seconds = time.perf_counter() - start
        corners = shapely.get_num_coordinates(simplified).sum()
        moved = shapely.hausdorff_distance(shapely.boundary(polygons), shapely.boundary(simplified)).max()
        rows.append([name, f"{corners}", f"{seconds:.1f}", f"{moved:.1f}"])
    return [["way", "corners", "s", "moved at most px"], *rows]


@click.command()
@click.option("--size", "sizes", type=int, multiple=True, default=(20_000, 100_000), show_default=True)
def main(sizes: tuple[int, ...]) -> None:
    """Print both tables."""
    table = [["slide px", "regions", "s", "gzipped MB", "memory MB"]]
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            count, seconds, packed_mb, memory_mb = traced(size, folder)
        table.append([f"{size}", f"{count}", f"{seconds:.0f}", f"{packed_mb:.1f}", f"{memory_mb:.0f}"])
    block = np.block([[RandomLabels(Size(1024, 1024)).tile(x, y) for x in (0, 1)] for y in (0, 1)])
    click.echo(f"{markdown(table)}\n\n{markdown(compared(block))}\n\n{machine()}")


if __name__ == "__main__":
    main()
