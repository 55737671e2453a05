"""Draw the truth of a slide from its annotations: which class each label px has."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import STRtree

from wsi.geometry import Rect, Size

from .annotations import Annotations, Region
from .class_scheme import ClassScheme
from .polygons import Points, polygon_mask
from .shapes import mended


class AnnotationTruth:
    """Truth of a slide drawn from its annotations on demand. Thread-safe. Memory: the vertices.

    A label px belongs to a region if its centre does. What lies outside the slide is cut off.
    """

    def __init__(
        self,
        annotations: Annotations,
        label_size: Size,
        downsample: int,
        scheme: ClassScheme,
        *,
        unannotated: int | None = None,
    ) -> None:
        """Scale the outlines to the grid.

        Args:
            annotations: Regions in l0 px.
            label_size: Size of the slide's label map, in label px.
            downsample: l0 px a label px of the slide's grid.
            scheme: Says which region covers which.
            unannotated: Value where no region is. [default: the scheme's]
        """
        self._frame = Rect.of(label_size)
        whole = (scheme.background_value or 0) if scheme.unlabelled == "background" else 0
        self._unannotated = whole if unannotated is None else unannotated
        regions = arranged(annotations.regions, scheme).regions
        self._values = [region.value for region in regions]
        outlines = [shapely.transform(region.outline, lambda xy: xy / downsample) for region in regions]
        self._rings = [_rings(outline) for outline in outlines]
        self._boxes = [_box(shapely.bounds(outline)) for outline in outlines]
        self._tree = STRtree(outlines)

    def read(self, rect: Rect) -> NDArray[np.uint8]:
        """Return the class values (H, W) of a rectangle of label px, 0 outside the label map.

        The values of a pixel do not depend on the rectangle it is read with.
        """
        labels = np.zeros((rect.height, rect.width), np.uint8)
        inside = rect.intersect(self._frame)
        if inside.is_empty:
            return labels
        _part(labels, rect, inside)[...] = self._unannotated
        around = shapely.box(inside.x, inside.y, inside.right, inside.bottom)
        for number in np.sort(self._tree.query(around)).tolist():
            touched = self._boxes[number].intersect(inside)
            if not touched.is_empty:
                mask = polygon_mask(self._rings[number], touched)
                _part(labels, rect, touched)[mask] = self._values[number]
        return labels


@dataclass(frozen=True, slots=True)
class Arranged:
    """Regions in the order in which they are drawn, without holes."""

    regions: tuple[Region, ...]
    crossing: tuple[Region, ...]
    """Those that crossed themselves, and were mended."""
    loose: tuple[Region, ...]
    """Holes that lie in no region."""


def arranged(regions: Sequence[Region], scheme: ClassScheme) -> Arranged:
    """Put regions in the order in which they are drawn; see ClassScheme.order.

    Equal ones stay in the order of the file. By area, a hole counts as part of the area it is cut out of.
    """
    if scheme.order == "file":
        background = scheme.background_value or 0
        drawn = (replace(one, value=background, hole=False) if one.hole else one for one in regions)
        return Arranged(tuple(drawn), (), ())
    valid = shapely.is_valid([one.outline for one in regions])
    crossing = tuple(one for one, is_sound in zip(regions, valid, strict=True) if not is_sound)
    sound = [
        replace(one, outline=outline)
        for one, is_sound in zip(regions, valid, strict=True)
        if (outline := one.outline if is_sound else mended(one.outline)) is not None
    ]
    solid, holes = [one for one in sound if not one.hole], [one for one in sound if one.hole]
    rank = [one.value for one in solid]
    if scheme.order == "area":
        rank = [-shapely.area(one.outline) for one in solid]
    cut, loose = _without_holes(solid, holes)
    order = sorted(range(len(solid)), key=lambda k: rank[k])
    return Arranged(tuple(one for k in order if (one := cut[k]) is not None), crossing, loose)


def _without_holes(
    solid: Sequence[Region], holes: Sequence[Region]
) -> tuple[list[Region | None], tuple[Region, ...]]:
    """Cut each hole out of the smallest region that has its middle; return the regions, and holes in none."""
    cut: list[Region | None] = list(solid)
    areas = np.array([shapely.area(one.outline) for one in solid])
    tree = STRtree([one.outline for one in solid])
    loose = []
    for hole in holes:
        around = tree.query(shapely.point_on_surface(hole.outline), predicate="within")
        if not around.size:
            loose.append(hole)
            continue
        number = int(around[np.argmin(areas[around])])
        if (region := cut[number]) is not None:
            rest = mended(shapely.difference(region.outline, hole.outline))
            cut[number] = None if rest is None else replace(region, outline=rest)
    return cut, tuple(loose)


def _rings(outline: shapely.Geometry) -> list[Points]:
    """Return the rings of an outline, holes included."""
    return [shapely.get_coordinates(ring) for ring in shapely.get_rings(shapely.get_parts(outline))]


def _box(bounds: NDArray[np.float64]) -> Rect:
    """Return the pixels that an outline may touch."""
    left, top = np.floor(bounds[:2]).astype(int)
    right, bottom = np.ceil(bounds[2:]).astype(int)
    return Rect(int(left), int(top), int(right - left), int(bottom - top))


def _part(labels: NDArray[np.uint8], rect: Rect, part: Rect) -> NDArray[np.uint8]:
    """Return the view of `part` in the labels of `rect`."""
    at = part.moved(-rect.x, -rect.y)
    return labels[at.y : at.bottom, at.x : at.right]
