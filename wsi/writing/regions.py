"""Outline the regions of a label map as polygons: block by block, joined where blocks meet."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes
from rasterio.transform import Affine

from ..geometry import Rect, Size
from .coverage import Polygons, simplify_coverage

BLOCK_PX = 2048
"""Side of what is traced at once, label px."""


class LabelMap(Protocol):
    """A label map to trace, such as `wsi.writing.label_tiff.LabelTiff`."""

    @property
    def size(self) -> Size:
        """Label px."""

    def read(self, rect: Rect) -> NDArray[np.uint8]:
        """Return the values of a rectangle (H, W), 0 where there is no class."""


@dataclass(frozen=True, slots=True)
class Region:
    """A connected part of one class."""

    value: int
    outline: shapely.Polygon
    """With holes; label px, corners are whole numbers."""


@dataclass(slots=True)
class _Pieces:
    """Traced polygons by class value."""

    whole: dict[int, list[Polygons]] = field(default_factory=lambda: defaultdict(list))
    """Within one block."""
    cut: dict[int, list[Polygons]] = field(default_factory=lambda: defaultdict(list))
    """On the edge of a block: the rest may be in the next one."""


def trace_regions(
    labels: LabelMap,
    *,
    tolerance_px: float,
    min_area_px: float,
    block_px: int = BLOCK_PX,
    progress: Callable[[float], None] = lambda _fraction: None,
) -> Iterator[Region]:
    """Yield the regions of a label map, by class value and then from large to small.

    Borders, also between neighbours of different class, are within `tolerance_px` of those of the pixels
    everywhere; neighbours keep their borders in common. Regions smaller than `min_area_px` are left out and
    holes smaller than that are filled, so a small island in a region becomes part of it. Pixels that touch at
    a corner only are not connected. Edges of blocks leave corners on a border, but do not cut.

    Memory: one block, some 300 bytes for each pixel side of its borders, and the polygons. `progress` is
    called with fractions up to 1 while blocks are traced; what it raises ends the work.

    Raises:
        LabelTiffError: `labels` is a file and a tile cannot be decoded.
    """
    pieces = _Pieces()
    size = labels.size
    blocks = [
        Rect(x, y, block_px, block_px).intersect(Rect.of(size))
        for y in range(0, size.height, block_px)
        for x in range(0, size.width, block_px)
    ]
    for number, block in enumerate(blocks, start=1):
        _trace_block(labels.read(block), block, tolerance_px, min_area_px, pieces)
        progress(number / len(blocks))
    for value in sorted({*pieces.whole, *pieces.cut}):
        joined = _joined(pieces.cut.pop(value, []), min_area_px)
        outlines = np.concatenate([joined, *pieces.whole.pop(value, [])])
        left, top, _, _ = shapely.bounds(outlines).T
        for index in np.lexsort((left, top, -shapely.area(outlines))):
            yield Region(value, outlines[index])


def _trace_block(
    labels: NDArray[np.uint8], block: Rect, tolerance_px: float, min_area_px: float, pieces: _Pieces
) -> None:
    """Trace and simplify what a block holds, and add it to `pieces`."""
    traced = list(
        shapes(labels, mask=labels > 0, connectivity=4, transform=Affine.translation(block.x, block.y))
    )
    if not traced:
        return
    polygons = np.array([shapely.geometry.shape(outline) for outline, _ in traced], np.object_)
    values = np.array([value for _, value in traced], np.int64)
    left, top, right, bottom = shapely.bounds(polygons).T
    cut = (left == block.x) | (top == block.y) | (right == block.right) | (bottom == block.bottom)
    kept = cut | (shapely.area(polygons) >= min_area_px)
    values, cut = values[kept], cut[kept]
    polygons = simplify_coverage(_filled(polygons[kept], min_area_px), tolerance_px, block)
    for value in np.unique(values):
        pieces.cut[int(value)].append(polygons[(values == value) & cut])
        pieces.whole[int(value)].append(polygons[(values == value) & ~cut])


def _filled(polygons: Polygons, min_area_px: float) -> Polygons:
    """Return the polygons without their holes of less than `min_area_px`."""
    rings, polygon = shapely.get_rings(polygons, return_index=True)
    is_shell = np.append(True, np.diff(polygon) > 0)
    kept = is_shell | (shapely.area(shapely.polygons(rings)) >= min_area_px)
    return np.asarray(shapely.polygons(rings[kept], indices=polygon[kept]))


def _joined(pieces: list[Polygons], min_area_px: float) -> Polygons:
    """Join the pieces of one class that blocks have cut; drop what is small even so."""
    if not pieces:
        return np.empty(0, np.object_)
    parts = shapely.get_parts(shapely.union_all(np.concatenate(pieces)))
    # Corners in the middle of a straight line, where blocks met. Nothing moves.
    parts = shapely.simplify(parts, 0.0)
    parts = parts[shapely.area(parts) >= min_area_px]
    return _filled(parts, min_area_px) if len(parts) else parts
