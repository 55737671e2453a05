"""Write what a job has analysed as polygons, GeoJSON that QuPath imports as annotations."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from ..atomic import atomic_file
from ..geometry import Rect, Size
from ..grid import Grid
from ..tissue import TissueMask
from .regions import trace_regions

NAME = "tissue"
COLOUR = (120, 120, 120)
"""What the outlines are called, and their colour in viewers."""


@dataclass(frozen=True, slots=True)
class _MaskAsLabels:
    """A tissue mask as a label map of one class, to trace."""

    mask: NDArray[np.bool_]

    @property
    def size(self) -> Size:
        """Mask px."""
        return Size(self.mask.shape[1], self.mask.shape[0])

    def read(self, rect: Rect) -> NDArray[np.uint8]:
        """Return a rectangle: 1 where there is tissue."""
        return self.mask[rect.y : rect.bottom, rect.x : rect.right].view(np.uint8)


def tissue_outlines(tissue: TissueMask, grid: Grid) -> list[shapely.Polygon]:
    """Return the outlines of a tissue mask, within its limits, level-0 px, from large to small.

    They are within one px of the mask (2 to 4 um of a usual slide) of its border, and exact where polygons
    limit it. The same mask gives the same polygons.
    """
    traced = trace_regions(_MaskAsLabels(tissue.mask), tolerance_px=1.0, min_area_px=0.0)
    outlines = np.array([region.outline for region in traced], np.object_)
    outlines = shapely.transform(outlines, lambda points: points * tissue.downsample)
    for limit in tissue.limits:
        border = shapely.transform(limit.outlines, lambda points: points * grid.downsample)
        shapely.prepare(border)
        whole = shapely.contains(border, outlines)
        cut = shapely.intersection(outlines[~whole & shapely.intersects(border, outlines)], border)
        # Where outlines only touch, lines and points come out too.
        parts = np.concatenate([outlines[whole], shapely.get_parts(shapely.get_parts(cut))])
        outlines = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    order = np.argsort(-shapely.area(outlines), kind="stable")
    return [outlines[index] for index in order]


def write_tissue(tissue: TissueMask, grid: Grid, out: Path) -> int:
    """Write the outlines of a tissue mask to `out` as GeoJSON; return how many there are.

    A FeatureCollection of polygons in level-0 pixels, each with its area. Same mask, same bytes.

    Raises:
        OSError: the file cannot be written.
    """
    features = [_feature(outline, grid.slide_mpp) for outline in tissue_outlines(tissue, grid)]
    with atomic_file(out) as temporary:
        collection = {"type": "FeatureCollection", "features": features}
        temporary.write_text(json.dumps(collection, separators=(",", ":")), encoding="ascii")
    return len(features)


def _feature(outline: shapely.Polygon, mpp: float) -> dict[str, Any]:
    rings = [
        np.round(shapely.get_coordinates(ring), 2).tolist()
        for ring in shapely.get_rings(shapely.orient_polygons(outline))
    ]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": rings},
        "properties": {
            "objectType": "annotation",
            "classification": {"name": NAME, "color": list(COLOUR)},
            "measurements": {"area_um2": round(outline.area * mpp**2, 3)},
        },
    }
