"""Find out which label pixels lie in the regions of interest of a job."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.transform import Affine

from .geometry import Rect, Size
from .grid import Grid
from .regions_of_interest import RegionsOfInterest


@dataclass(frozen=True, slots=True)
class RegionMask:
    """Regions of interest on the label map of one job."""

    outlines: shapely.MultiPolygon | shapely.Polygon
    """Their union, label px."""
    parts: shapely.STRtree
    """Of the polygons as they were sent, label px."""

    @classmethod
    def of(cls, regions: RegionsOfInterest, grid: Grid) -> "RegionMask":
        """Put regions of interest on the label map."""
        per_label_px = grid.label_mpp if regions.unit == "um" else float(grid.downsample)
        polygons = np.array(
            [shapely.Polygon(outline, holes) for outline, *holes in regions.polygons], np.object_
        )
        polygons = shapely.transform(polygons, lambda points: points / per_label_px)
        return cls(shapely.union_all(polygons), shapely.STRtree(polygons))

    def crop(self, label_rect: Rect) -> NDArray[np.bool_]:
        """Tell of each label px of a rectangle whether its centre lies in a region: (height, width)."""
        return self._burnt(label_rect, 1, all_touched=False)

    def touched(self, label_size: Size, step: int) -> NDArray[np.bool_]:
        """Tell of squares of `step` label px whether a region touches them; they cover `label_size`."""
        size = label_size.tiles(step)
        return self._burnt(Rect.of(size), step, all_touched=True)

    def area(self, part: Rect) -> float:
        """Return the area of the regions in a part of the label map, label px."""
        return float(self.outlines.intersection(shapely.box(part.x, part.y, part.right, part.bottom)).area)

    def _burnt(self, rect: Rect, step: int, *, all_touched: bool) -> NDArray[np.bool_]:
        """Draw the regions that meet a rectangle of pixels of `step` label px."""
        frame = rect.scaled(step)
        box = shapely.box(frame.x, frame.y, frame.right, frame.bottom)
        near = self.parts.geometries[np.sort(self.parts.query(box, predicate="intersects"))]
        if not len(near):
            return np.zeros((rect.height, rect.width), np.bool_)
        drawn = rasterize(
            list(near),
            out_shape=(rect.height, rect.width),
            transform=Affine(step, 0, frame.x, 0, step, frame.y),
            all_touched=all_touched,
            dtype=np.uint8,
        )
        return np.asarray(drawn, np.uint8).view(np.bool_)
