"""GeoJSON as QuPath and its scripts have written it over the years, and with damage."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import shapely

from model.data.geojson import read_geojson
from model.errors import CohortError

from .qupath import feature, square, write_geojson

SQUARE = square(0, 0, 10)


def write(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data))
    return path


def words(path: Path) -> list[tuple[str, ...]]:
    return [shape.words for shape in read_geojson(path).shapes]


def test_classes_are_where_qupath_put_them(tmp_path: Path) -> None:
    features = [
        feature("Tumor", SQUARE),
        feature(None, SQUARE, classification="Stroma"),
        feature(None, SQUARE, classification={"names": ["Tumor", "Positive"], "color": [1, 2, 3]}),
        feature(None, SQUARE, classification={"name": "Necrosis", "colorRGB": -377282}),
        feature("Tumor", SQUARE, name="the large one"),
    ]
    stated = words(write_geojson(tmp_path / "a.geojson", features))
    assert stated == [("Tumor",), ("Stroma",), ("Tumor: Positive",), ("Necrosis",), ("Tumor",)]


def test_names_stand_in_for_classes_also_with_the_numbers_of_imagej(tmp_path: Path) -> None:
    names = ["Tumor", "Tumor-2", "0012-0345-Tumor", "0001-0012-0345"]
    path = write_geojson(tmp_path / "a.geojson", [feature(None, SQUARE, name=name) for name in names])
    shapes = read_geojson(path).shapes
    assert [shape.words[-1] for shape in shapes[:3]] == ["Tumor"] * 3
    assert not any(shape.classified for shape in shapes)


def test_all_layouts_hold_the_same(tmp_path: Path) -> None:
    one, two = feature("Tumor", SQUARE), feature("Stroma", square(3, 3, 2))
    nested = feature("Tumor", SQUARE, childObjects=[feature("Stroma", square(3, 3, 2))])
    deep = {**feature("Tumor", SQUARE), "childObjects": [two]}
    collection = {"type": "FeatureCollection", "features": [one, two]}
    zipped = tmp_path / "z.geojson.gz"
    zipped.write_bytes(gzip.compress(json.dumps(collection).encode()))
    layouts = [collection, [one, two], [nested], deep]
    paths = [write(tmp_path / f"{number}.json", data) for number, data in enumerate(layouts)]
    for path in (*paths, zipped):
        assert words(path) == [("Tumor",), ("Stroma",)]
    paths[0].write_text(json.dumps(collection).replace(",", ",\r\n"), encoding="utf-16")
    assert words(paths[0]) == [("Tumor",), ("Stroma",)]


def test_geometries_keep_their_holes_and_parts(tmp_path: Path) -> None:
    ring = [*SQUARE, SQUARE[0]]
    hole = [*square(2, 2, 3), (2, 2)]
    far = [*square(20, 20, 4), (20, 20)]
    features = [feature("Tumor", SQUARE) for _ in range(5)]
    for entry, geometry in zip(
        features,
        (
            {"type": "Polygon", "coordinates": [ring, hole]},
            {"type": "MultiPolygon", "coordinates": [[ring, hole], [far]]},
            {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "coordinates": [far]}]},
            {"type": "LineString", "coordinates": ring},
            {"type": "Point", "coordinates": [1, 2]},
        ),
        strict=True,
    ):
        entry["geometry"] = geometry
    outlines = [
        shape.outline for shape in read_geojson(write_geojson(tmp_path / "a.geojson", features)).shapes
    ]
    assert [None if one is None else shapely.area(one) for one in outlines] == [91, 107, 16, None, None]


def test_cells_and_detections_are_counted_and_passed_over(tmp_path: Path) -> None:
    old = {**feature("Tumor", SQUARE), "id": "PathDetectionObject"}
    old["properties"] = {"classification": {"name": "Tumor"}}
    annotation = {**feature("Tumor", SQUARE), "id": "PathAnnotationObject"}
    annotation["properties"] = {"classification": {"name": "Tumor"}}
    features = [
        feature("Tumor", SQUARE, objectType=kind) for kind in ("cell", "detection", "annotation", "tile")
    ]
    found = read_geojson(write_geojson(tmp_path / "a.geojson", [*features, old, annotation]))
    assert (len(found.shapes), found.passed_over) == (2, 4)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is empty"),
        (" \r\n", "it is empty"),
        ("{", "cannot be read as GeoJSON"),
        ("[" * 100_000, "cannot be read as GeoJSON"),
        ("{}", "no list of features"),
        ('{"type": "Topology"}', "no list of features"),
        ("3", "no list of features"),
        ('{"type": "FeatureCollection"}', "no list of features"),
        ("[3]", "an entry that is no feature"),
        ('[{"type": "Feature", "geometry": {"type": "Polygon"}}]', "annotation 1 has a Polygon without"),
        (
            '[{"geometry": {"type": "Polygon", "coordinates": [[["x", 1], [2, 3], [3, 4]]]}}]',
            "annotation 1 has a v",
        ),
        ('[{"geometry": {"type": "Polygon", "coordinates": [[1, 2, 3]]}}]', "annotation 1 has a vertex"),
        (
            '[{"geometry": {"type": "Polygon", "coordinates": [[[1], [2], [3]]]}}]',
            "annotation 1 has a vertex",
        ),
        ('[{"geometry": {"type": "Polygon", "coordinates": [[[NaN, 1], [2, 3], [3, 4]]]}}]', "on no slide"),
    ],
)
def test_damage_is_told_with_the_file_in_one_line(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.geojson").write_text(text)
    with pytest.raises(CohortError, match=rf"^a\.geojson.*{told}") as caught:
        read_geojson(tmp_path / "a.geojson")
    assert "\n" not in str(caught.value)


def test_a_torn_gzip_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.geojson.gz").write_bytes(gzip.compress(b"[" + b" " * 999 + b"]")[:-9])
    with pytest.raises(CohortError, match=r"a\.geojson\.gz cannot be read"):
        read_geojson(tmp_path / "a.geojson.gz")
