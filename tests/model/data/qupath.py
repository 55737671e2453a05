"""Writes GeoJSON as QuPath exports it, from outlines of the test's own."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Ring = Sequence[tuple[float, float]]


def square(left: float, top: float, side: float, height: float | None = None) -> list[tuple[float, float]]:
    right, bottom = left + side, top + (side if height is None else height)
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def feature(label: str | None, /, *rings: Ring, **properties: Any) -> dict[str, Any]:
    """An annotation of a class: its outer ring and holes."""
    closed = [[*ring, ring[0]] for ring in rings]
    classed = {} if label is None else {"classification": {"name": label, "color": [200, 0, 0]}}
    return {
        "type": "Feature",
        "id": "c8b1e1c4-7d0a-4f6e-9d1c-0c5f6f3b2a10",
        "geometry": {"type": "Polygon", "coordinates": closed},
        "properties": {"objectType": "annotation", **classed, **properties},
    }


def write_geojson(path: Path, features: Sequence[dict[str, Any]]) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))
    return path
