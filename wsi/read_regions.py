"""Read the regions of interest that somebody sends: GeoJSON, as QuPath exports it, or rectangles."""

import json
import math
import reprlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from .errors import RegionsInvalidError
from .geometry import Size
from .regions_of_interest import RegionsOfInterest, Unit

MAX_POLYGONS = 1_000
MAX_VERTICES = 20_000
MAX_CROSSINGS = 50_000
"""Most pairs of sides of different polygons that meet: their union has as many vertices. Of two combs of 5000
teeth it would have some 100 million."""

_FARTHEST = 1e8
_SIDES_AT_ONCE = 200
_LONGEST_REASON = 200
_SIDES = ("x", "y", "width", "height")
_SHAPE = (
    'Send GeoJSON (a FeatureCollection, features or a geometry; level-0 px), or {"unit": "px" or "um", '
    '"rectangles": [{"x": ..., "y": ..., "width": ..., "height": ...}]}.'
)


def read_regions(value: object) -> RegionsOfInterest:
    """Read regions of interest from JSON: text, or what was read from text.

    GeoJSON is in level-0 px, x right and y down from the upper left corner of the slide; rectangles state
    their unit. Polygons with holes, and those of collections, are taken; names and classes are passed over.

    Raises:
        RegionsInvalidError: it is neither, a polygon crosses itself or has no area, there is something other
            than a polygon, none at all, or too much.
    """
    unit: Unit = "px"
    try:
        if isinstance(value, str | bytes):
            value = _decoded(value)
        if isinstance(value, Mapping) and "rectangles" in value:
            unit, polygons = _unit(value), list(_rectangles(value["rectangles"]))
        else:
            polygons = list(_geojson_polygons(value))
    except RecursionError as error:
        raise RegionsInvalidError(f"The regions are nested too deeply. {_SHAPE}") from error
    _check_amount(polygons)
    _check_crossings(np.array(polygons, np.object_))
    return RegionsOfInterest(unit, tuple(_rings(polygon) for polygon in polygons))


def check_on_slide(regions: RegionsOfInterest, size: Size, mpp: float, *, what: str = "Region") -> None:
    """Check that each region lies at least partly on a slide of `size` level-0 px; `what` names one.

    Raises:
        RegionsInvalidError: one does not.
    """
    per_l0 = mpp if regions.unit == "um" else 1.0
    width, height = size.width * per_l0, size.height * per_l0
    for number, polygon in enumerate(regions.polygons, start=1):
        x, y = [x for x, _ in polygon[0]], [y for _, y in polygon[0]]
        left, top, right, bottom = min(x), min(y), max(x), max(y)
        if right <= 0 or bottom <= 0 or left >= width or top >= height:
            raise RegionsInvalidError(
                f"{what} {number} (x {left:g} to {right:g}, y {top:g} to {bottom:g} {regions.unit}) lies "
                f"outside of the slide, which is {width:g} x {height:g} {regions.unit} large. "
                "Was it drawn on another slide, or on a reduced level?"
            )


def _decoded(text: str | bytes) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise RegionsInvalidError(f"The regions are no JSON: {error}. {_SHAPE}") from error


def _unit(value: Mapping[str, Any]) -> Unit:
    unit = value.get("unit")
    if unit not in ("px", "um") or set(value) - {"unit", "rectangles"}:
        raise RegionsInvalidError(
            'Beside "rectangles" state their "unit", "px" (level-0 pixels) or "um" (micrometres), and '
            "nothing else."
        )
    return "px" if unit == "px" else "um"


def _rectangles(rectangles: object) -> Iterator[shapely.Polygon]:
    if not isinstance(rectangles, list):
        raise RegionsInvalidError(f"The rectangles are no list. {_SHAPE}")
    for number, one in enumerate(rectangles, start=1):
        if not isinstance(one, Mapping) or set(one) != set(_SIDES):
            raise RegionsInvalidError(f"Rectangle {number} has not just the members {', '.join(_SIDES)}.")
        x, y, width, height = (_number(one[side], f"Rectangle {number}: {side}") for side in _SIDES)
        if width <= 0 or height <= 0:
            raise RegionsInvalidError(f"Rectangle {number} has no area: width and height must be above 0.")
        yield shapely.box(x, y, x + width, y + height, ccw=False)


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _FARTHEST:
        raise RegionsInvalidError(f"{what} is {reprlib.repr(value)}; send a number.")
    return float(value)


def _geojson_polygons(value: object) -> Iterator[shapely.Polygon]:
    if isinstance(value, Mapping) and value.get("type") == "FeatureCollection":
        value = value.get("features")
    features = value if isinstance(value, list) else [value]
    for number, feature in enumerate(features, start=1):
        if not isinstance(feature, Mapping):
            raise RegionsInvalidError(f"Feature {number} is no JSON object. {_SHAPE}")
        geometry = feature.get("geometry") if feature.get("type") == "Feature" else feature
        try:
            shape = shapely.force_2d(shapely.from_geojson(json.dumps(geometry)))
        except (shapely.GEOSException, ValueError) as error:
            reason = str(error)[:_LONGEST_REASON]
            raise RegionsInvalidError(f"Feature {number} is no geometry: {reason}. {_SHAPE}") from error
        yield from _polygons(shape, number)


def _polygons(shape: shapely.Geometry, number: int) -> Iterator[shapely.Polygon]:
    """Yield the polygons of a geometry, of collections too, each of them sound."""
    if isinstance(shape, shapely.MultiPolygon | shapely.GeometryCollection):
        for part in shape.geoms:
            yield from _polygons(part, number)
        return
    if not isinstance(shape, shapely.Polygon):
        raise RegionsInvalidError(
            f"Feature {number} is a {shape.geom_type}, which encloses nothing. Send polygons only."
        )
    coordinates = shapely.get_coordinates(shape)
    if not len(coordinates) or not math.isfinite(coordinates.sum()) or abs(coordinates).max() > _FARTHEST:
        raise RegionsInvalidError(f"Feature {number} has no coordinates, or some far off any slide.")
    if not shape.is_valid:
        reason = shapely.is_valid_reason(shape)
        raise RegionsInvalidError(
            f"Feature {number} is no valid polygon: {reason}. Mend it; in QuPath by "
            "Objects > Annotations > Simplify shape, or by drawing it anew."
        )
    yield shape


def _check_amount(polygons: list[shapely.Polygon]) -> None:
    if not polygons:
        raise RegionsInvalidError(f"There is no region among the regions. {_SHAPE}")
    vertices = int(shapely.get_num_coordinates(polygons).sum())
    if len(polygons) > MAX_POLYGONS or vertices > MAX_VERTICES:
        raise RegionsInvalidError(
            f"{len(polygons)} polygons with {vertices} vertices are more than the {MAX_POLYGONS} and "
            f"{MAX_VERTICES} that a job may have. Simplify them; in QuPath by "
            "Objects > Annotations > Simplify shape."
        )


def _check_crossings(polygons: NDArray[np.object_]) -> None:
    rings, of_polygon = shapely.get_rings(polygons, return_index=True)
    points, of_ring = shapely.get_coordinates(rings, return_index=True)
    same_ring = of_ring[1:] == of_ring[:-1]
    sides = shapely.linestrings(np.stack([points[:-1], points[1:]], axis=1)[same_ring])
    owner = of_polygon[of_ring[:-1][same_ring]]
    tree, met = shapely.STRtree(sides), 0
    for start in range(0, len(sides), _SIDES_AT_ONCE):
        first, second = tree.query(sides[start : start + _SIDES_AT_ONCE], predicate="intersects")
        met += int(np.count_nonzero(owner[first + start] < owner[second]))
        if met > MAX_CROSSINGS:
            raise RegionsInvalidError(
                f"The polygons cross or touch each other in more than {MAX_CROSSINGS} places. Merge those "
                "that overlap; in QuPath by Objects > Annotations > Merge selected."
            )


def _rings(polygon: shapely.Polygon) -> tuple[tuple[tuple[float, float], ...], ...]:
    return tuple(
        tuple((float(x), float(y)) for x, y in shapely.get_coordinates(ring).tolist())
        for ring in shapely.get_rings(polygon)
    )
