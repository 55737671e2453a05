"""Regions of interest as they are sent: what is taken, what is refused and why, which pixels they hold."""

import json
import math
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi.errors import RegionsInvalidError
from wsi.geometry import Rect, Size
from wsi.grid import InputGeometry, make_grid
from wsi.read_regions import MAX_POLYGONS, MAX_VERTICES, check_on_slide, read_regions
from wsi.region_mask import RegionMask
from wsi.regions_of_interest import RegionsOfInterest, regions_summary
from wsi.tissue import TissueMask

CARD = InputGeometry(mpp=0.934, context_ratio=5, slices_per_side=5, halo_px=64)
RING = [[100, 100], [900, 150], [700, 800], [100, 100]]
HOLE = [[300, 200], [500, 200], [500, 400], [300, 200]]
POLYGON: dict[str, Any] = {"type": "Polygon", "coordinates": [RING, HOLE]}
QUPATH = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "id": "b6a5c0a2-9ab7-4f0f-8a0e-0d5b0d1b7f35",
            "geometry": POLYGON,
            "properties": {
                "objectType": "annotation",
                "classification": {"name": "Tumor", "color": [200, 0, 0]},
            },
        }
    ],
}
RECTANGLE = {"x": 10, "y": 20.5, "width": 300, "height": 40}


def box(x: float, y: float, width: float, height: float) -> dict[str, Any]:
    return {"unit": "px", "rectangles": [{"x": x, "y": y, "width": width, "height": height}]}


@pytest.mark.parametrize(
    "value",
    [
        QUPATH,
        QUPATH["features"],
        QUPATH["features"][0],
        POLYGON,
        json.dumps(QUPATH),
        {"type": "GeometryCollection", "geometries": [POLYGON]},
        {"type": "MultiPolygon", "coordinates": [[RING, HOLE]]},
        {"type": "Polygon", "coordinates": [[[*point, 7.0] for point in ring] for ring in (RING, HOLE)]},
    ],
)
def test_geojson_in_its_usual_forms_is_one_polygon_with_a_hole(value: object) -> None:
    regions = read_regions(value)

    assert regions.unit == "px"
    (polygon,) = regions.polygons
    assert [[list(point) for point in ring] for ring in polygon] == [RING, HOLE]
    assert RegionsOfInterest.from_json(regions.to_json()) == regions


@pytest.mark.parametrize("unit", ["px", "um"])
def test_rectangles_state_their_unit(unit: str) -> None:
    regions = read_regions({"unit": unit, "rectangles": [RECTANGLE]})

    assert regions.unit == unit
    assert shapely.Polygon(regions.polygons[0][0]).bounds == (10, 20.5, 310, 60.5)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{", "no JSON"),
        ({}, "Send GeoJSON"),
        ([], "no region"),
        ({"type": "FeatureCollection", "features": []}, "no region"),
        ({"type": "FeatureCollection"}, "no JSON object"),
        ({"type": "Point", "coordinates": [1, 2]}, "Feature 1 is a Point, which encloses nothing"),
        ([POLYGON, {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}], "Feature 2 is a LineString"),
        ({"type": "Feature", "geometry": None}, "Feature 1 is no geometry"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [9, 9], [9, 0], [0, 9], [0, 0]]]}, "Self-intersection"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [9, 9], [9, 0]]]}, "Feature 1"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [9, 9], [0, 0], [0, 0]]]}, "Feature 1"),
        ({"type": "Polygon", "coordinates": []}, "Feature 1 has no coordinates"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1e12, 0], [9, 9], [0, 0]]]}, "far off any slide"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [NaN, 0], [9, 9], [0, 0]]]}', "Feature 1"),
        ({"type": "Polygon", "coordinates": "everywhere"}, "Feature 1 is no geometry"),
        ({"rectangles": [RECTANGLE]}, "px"),
        ({"unit": "mm", "rectangles": [RECTANGLE]}, "micrometres"),
        ({"unit": "px", "rectangles": [{**RECTANGLE, "width": 0}]}, "Rectangle 1 has no area"),
        ({"unit": "px", "rectangles": [{**RECTANGLE, "y": "0"}]}, "Rectangle 1: y is '0'"),
        ({"unit": "px", "rectangles": [{**RECTANGLE, "y": math.nan}]}, "Rectangle 1: y"),
        ({"unit": "px", "rectangles": [{**RECTANGLE, "angle": 3}]}, "x, y, width, height"),
        ({"unit": "px", "rectangles": RECTANGLE}, "no list"),
        ({"unit": "px", "rectangles": [RECTANGLE] * (MAX_POLYGONS + 1)}, "more than the 1000"),
        (3, "Send GeoJSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"type":"GeometryCollection","geometries":[' * 990 + "]}" * 990, "nested too deeply"),
    ],
)
def test_what_cannot_be_used_is_refused_with_words_that_help(value: object, said: str) -> None:
    with pytest.raises(RegionsInvalidError, match=said):
        read_regions(value)


def test_vertices_have_a_limit() -> None:
    turns = np.linspace(0, 2 * np.pi, MAX_VERTICES)
    circle = np.stack([np.cos(turns), np.sin(turns)], axis=1) * 1000
    ring = [*circle.tolist(), circle[0].tolist()]
    with pytest.raises(RegionsInvalidError, match="20001 vertices"):
        read_regions({"type": "Polygon", "coordinates": [ring]})


def combs(teeth: int) -> list[dict[str, Any]]:
    """Two combs of long teeth that cross each other."""
    width = 1000 / teeth
    ring = [
        point
        for tooth in range(teeth)
        for x in (tooth * width, (tooth + 0.5) * width)
        for point in ([[x, 10], [x, 999]] if x == tooth * width else [[x, 999], [x, 10]])
    ]
    ring = [*ring, [1000, 0], [0, 0], ring[0]]
    return [
        {"type": "Polygon", "coordinates": [ring]},
        {"type": "Polygon", "coordinates": [[[y, x] for x, y in ring]]},
    ]


def test_polygons_may_cross_each_other_but_not_without_end() -> None:
    """The union of two combs of 5000 vertices each would have millions."""
    assert len(read_regions(combs(20)).polygons) == 2
    with pytest.raises(RegionsInvalidError, match=r"more than 50000 places\. Merge those that overlap"):
        read_regions(combs(2400))


def test_a_grid_of_tiles_is_taken() -> None:
    tiles = [
        {"x": 256.0 * x, "y": 256.0 * y, "width": 256.0, "height": 256.0}
        for x in range(40)
        for y in range(25)
    ]
    assert len(read_regions({"unit": "px", "rectangles": tiles}).polygons) == MAX_POLYGONS


def test_stored_regions_that_are_damaged_are_refused() -> None:
    for text in ("", "{}", '{"unit": "km", "polygons": []}', '{"unit": "px", "polygons": [[[1]]]}'):
        with pytest.raises(RegionsInvalidError):
            RegionsOfInterest.from_json(text)


def test_the_summary_tells_regions_apart() -> None:
    one, other = read_regions(POLYGON).to_json(), read_regions(box(0, 0, 9, 9)).to_json()

    assert regions_summary(one) | {"sha256": ""} == {"unit": "px", "polygons": 1, "vertices": 6, "sha256": ""}
    assert regions_summary(one)["sha256"] != regions_summary(other)["sha256"]


@pytest.mark.parametrize(
    ("regions", "fits"),
    [
        (box(990, 0, 50, 50), True),
        (box(-50, -50, 60, 60), True),
        (box(1000, 0, 50, 50), False),
        (box(0, -50, 50, 50), False),
        ({**box(499, 0, 50, 50), "unit": "um"}, True),
        ({**box(501, 0, 50, 50), "unit": "um"}, False),
    ],
)
def test_regions_must_touch_the_slide(regions: dict[str, Any], fits: bool) -> None:
    read = read_regions(regions)
    if fits:
        check_on_slide(read, Size(1000, 800), 0.5)
    else:
        with pytest.raises(RegionsInvalidError, match=r"Region 1 .*outside of the slide"):
            check_on_slide(read, Size(1000, 800), 0.5)


def test_a_label_pixel_belongs_to_the_region_that_holds_its_centre() -> None:
    grid = make_grid(Size(2400, 1600), 0.5, CARD)  # label px of 2 l0 px

    inside = RegionMask.of(read_regions(box(100.5, 40.5, 199, 100)), grid).crop(Rect(0, 0, 1200, 800))

    rows, columns = np.nonzero(inside)
    assert (columns.min(), columns.max()) == (50, 149)
    assert (rows.min(), rows.max()) == (20, 69)
    assert inside.sum() == 100 * 50


def test_micrometres_and_pixels_mean_the_same_place() -> None:
    grid = make_grid(Size(2400, 1600), 0.5, CARD)
    whole = Rect.of(grid.label_size)

    by_px = RegionMask.of(read_regions(box(100, 40, 200, 100)), grid).crop(whole)
    by_um = RegionMask.of(read_regions({**box(50, 20, 100, 50), "unit": "um"}), grid).crop(whole)

    assert by_px.any()
    assert np.array_equal(by_px, by_um)


@st.composite
def triangles(draw: st.DrawFn) -> list[list[list[float]]]:
    corner = st.tuples(st.integers(-300, 3300), st.integers(-300, 2300))
    drawn = draw(st.lists(st.tuples(corner, corner, corner), min_size=1, max_size=4))
    wide = [one for one in drawn if shapely.Polygon(one).area > 100]
    return [[list(map(float, point)) for point in (*one, one[0])] for one in wide] or [[*map(list, RING)]]


@given(rings=triangles(), x=st.integers(-100, 1400), y=st.integers(-100, 900))
@settings(max_examples=60, deadline=None)
def test_every_crop_is_what_the_polygons_hold(rings: list[list[list[float]]], x: int, y: int) -> None:
    """By shapely, centre by centre; and what the coarse mask leaves out holds nothing."""
    grid = make_grid(Size(3000, 2000), 0.5, CARD)
    regions = RegionMask.of(
        read_regions([{"type": "Polygon", "coordinates": [ring]} for ring in rings]), grid
    )
    rect = Rect(x, y, 60, 40)

    crop = regions.crop(rect)

    centres_x, centres_y = np.meshgrid(rect.x + np.arange(60) + 0.5, rect.y + np.arange(40) + 0.5)
    union = shapely.union_all([shapely.Polygon(np.array(ring) / 2) for ring in rings])
    on_border = shapely.dwithin(union.boundary, shapely.points(centres_x, centres_y), 1e-6)
    expected = shapely.contains_xy(union, centres_x, centres_y)
    assert np.array_equal(crop[~on_border], expected[~on_border])

    tissue = TissueMask.everywhere(grid, Rect.of(grid.slide))
    limited, whole = tissue.within(regions, grid), Rect.of(grid.label_size)
    inside = regions.crop(whole)
    assert np.array_equal(limited.crop(whole, grid), inside & tissue.crop(whole, grid))
    tiles = limited.tile_has_tissue(grid)
    rows, columns = np.nonzero(inside)
    assert tiles[rows // 512, columns // 512].all(), "no region is missed by the tiles that run"
