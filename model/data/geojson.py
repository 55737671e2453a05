"""Read GeoJSON annotations as QuPath exports them, of any version, gzipped or not."""

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from shapely import Polygon

from ..errors import CohortError
from .shapes import Shape, ShapeFile, joined, polygon_of

ANNOTATIONS = {"annotation", "pathannotationobject", "pathrootobject", "tmacore", "tma_core", "root"}
"""Kinds of QuPath objects whose outline a person drew, or that have none."""

IMAGEJ_NUMBERS = re.compile(r"^(?:\d{3,}-)+|-\d+$")
"""What ImageJ puts before or behind the name of a region: its place and the number of its copy."""


def read_geojson(path: Path) -> ShapeFile:
    """Read a FeatureCollection, a bare list of features or one feature, with child objects within.

    The words of a shape are its classification, or else its name, also without ImageJ's numbers. Cells and
    other detections are passed over.

    Raises:
        CohortError: It cannot be read or is no GeoJSON, or a vertex is no position.
    """
    shapes: list[Shape] = []
    passed_over = 0
    for number, feature in enumerate(_features(_parsed(path), path.name), start=1):
        properties = _mapping(feature.get("properties"))
        kind = properties.get("objectType", properties.get("object_type", feature.get("id")))
        kind = str(kind).replace(" ", "").casefold()
        if (kind.startswith("path") and kind not in ANNOTATIONS) or kind in {"detection", "cell", "tile"}:
            passed_over += 1
            continue
        geometry = feature.get("geometry")
        if geometry is None and "geometry" in feature:
            continue
        stated = _classification(properties)
        outline = joined(_polygons(_mapping(geometry), f"{path.name}: annotation {number}"))
        shapes.append(Shape(str(number), stated or _name_words(properties), outline, classified=bool(stated)))
    return ShapeFile(path.name, tuple(shapes), passed_over=passed_over)


def _parsed(path: Path) -> Any:
    """Return the JSON of a file, in any Unicode encoding.

    Raises:
        CohortError: It has none.
    """
    try:
        text = path.read_bytes()
        if text[:2] == b"\x1f\x8b":
            text = gzip.decompress(text)
        return json.loads(_not_empty(text))
    except (OSError, EOFError, ValueError, zlib.error, RecursionError) as error:
        raise CohortError(f"{path.name} cannot be read as GeoJSON ({error}). Export it again.") from error


def _not_empty(text: bytes) -> bytes:
    if not text.strip():
        raise ValueError("it is empty")
    return text


def _features(data: Any, file: str) -> Iterator[Mapping[str, Any]]:
    """Yield all features, parents before their child objects.

    Raises:
        CohortError: There is something that is no feature.
    """
    if isinstance(data, Mapping) and data.get("type") == "FeatureCollection":
        data = data.get("features")
    waiting = [data] if isinstance(data, Mapping) and data.get("type") == "Feature" else data
    if not isinstance(waiting, list):
        raise CohortError(f"{file} has no list of features. Export the annotations from QuPath as GeoJSON.")
    waiting = waiting[::-1]
    while waiting:
        feature = waiting.pop()
        if not isinstance(feature, Mapping) or feature.get("type", "Feature") != "Feature":
            raise CohortError(f"{file} has an entry that is no feature. Export it from QuPath as GeoJSON.")
        yield feature
        children = feature.get("childObjects", _mapping(feature.get("properties")).get("childObjects"))
        waiting += children[::-1] if isinstance(children, list) else []


def _classification(properties: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the class of an object: a text, or {"name"}, or {"names"} of a class and its sub-classes."""
    stated = properties.get("classification")
    if isinstance(stated, Mapping):
        names = stated.get("names")
        stated = ": ".join(map(str, names)) if isinstance(names, list) else stated.get("name")
    return (stated,) if isinstance(stated, str) and stated.strip() else ()


def _name_words(properties: Mapping[str, Any]) -> tuple[str, ...]:
    name = properties.get("name")
    if not isinstance(name, str) or not name.strip():
        return ()
    return tuple(dict.fromkeys((name, IMAGEJ_NUMBERS.sub("", name) or name)))


def _polygons(geometry: Mapping[str, Any], where: str) -> Iterator[Polygon | None]:
    """Yield the polygons of a geometry; points and lines have none.

    Raises:
        CohortError: A vertex is no position.
    """
    kind: Any = geometry.get("type")
    coordinates: Any = geometry.get("coordinates")
    if kind == "GeometryCollection":
        for part in geometry.get("geometries") or ():
            yield from _polygons(_mapping(part), where)
    elif kind in {"Polygon", "MultiPolygon"}:
        polygons = [coordinates] if kind == "Polygon" else coordinates
        if not isinstance(polygons, Sequence) or not all(isinstance(one, list) for one in polygons):
            raise CohortError(f"{where} has a {kind} without coordinates. Mend or remove it.")
        yield from (polygon_of(rings, where) for rings in polygons)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
