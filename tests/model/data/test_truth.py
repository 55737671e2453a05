"""Which shape covers which, and what holes, crossings and areas without truth become."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from model.data.annotations import read_annotations
from model.data.class_scheme import ClassScheme, NamedClass, Order
from model.data.truth import AnnotationTruth, arranged
from model.errors import CohortError
from wsi.geometry import Rect, Size

from .image_scope import Outline, write_xml
from .qupath import feature, square, write_geojson

SCHEME = ClassScheme((NamedClass("stroma"), NamedClass("tumour"), NamedClass("fat")), background="stroma")
LARGE, MIDDLE, SMALL = square(0, 0, 12), square(1, 1, 8), square(2, 2, 4)


def drawn(path: Path, scheme: ClassScheme, *, side: int = 12) -> NDArray[np.uint8]:
    truth = AnnotationTruth(read_annotations(path, scheme), Size(side, side), 1, scheme)
    whole = truth.read(Rect(0, 0, side, side))
    parts = [[truth.read(Rect(x, y, 5, 7)) for x in range(0, side, 5)] for y in range(0, side, 7)]
    np.testing.assert_array_equal(np.block(parts)[:side, :side], whole)
    return whole


def painted(*squares: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Squares (left, top, side, value) one over the other."""
    labels = np.zeros((12, 12), np.uint8)
    for left, top, side, value in squares:
        labels[top : top + side, left : left + side] = value
    return labels


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("area", [(0, 0, 12, 2), (1, 1, 8, 3), (2, 2, 4, 1)]),
        ("classes", [(2, 2, 4, 1), (0, 0, 12, 2), (1, 1, 8, 3)]),
        ("file", [(2, 2, 4, 1), (1, 1, 8, 3), (0, 0, 12, 2)]),
    ],
)
def test_the_order_says_which_shape_covers_which(
    order: Order, expected: Sequence[tuple[int, int, int, int]], tmp_path: Path
) -> None:
    features = [feature("stroma", SMALL), feature("fat", MIDDLE), feature("tumour", LARGE)]
    path = write_geojson(tmp_path / "a.geojson", features)
    np.testing.assert_array_equal(drawn(path, replace(SCHEME, order=order)), painted(*expected))


def test_of_equal_shapes_the_later_in_the_file_is_on_top(tmp_path: Path) -> None:
    path = write_geojson(tmp_path / "a.geojson", [feature("fat", SMALL), feature("tumour", SMALL)])
    np.testing.assert_array_equal(drawn(path, SCHEME), painted((2, 2, 4, 2)))


def test_holes_show_what_lies_below(tmp_path: Path) -> None:
    multi = feature("tumour", LARGE)
    rings = [
        [*ring, ring[0]] for ring in (square(0, 0, 5), square(1, 1, 2), square(6, 6, 5), square(7, 7, 2))
    ]
    multi["geometry"] = {"type": "MultiPolygon", "coordinates": [rings[:2], rings[2:]]}
    path = write_geojson(tmp_path / "a.geojson", [multi])
    expected = painted((0, 0, 5, 2), (1, 1, 2, 0), (6, 6, 5, 2), (7, 7, 2, 0))
    np.testing.assert_array_equal(drawn(path, SCHEME), expected)
    path = write_geojson(tmp_path / "b.geojson", [multi, feature("fat", LARGE)])
    np.testing.assert_array_equal(drawn(path, SCHEME), np.where(expected == 0, 3, expected))


def test_shapes_that_are_holes_are_cut_out_of_the_smallest_around_them(tmp_path: Path) -> None:
    outlines = [
        Outline("", square(3, 3, 2), hole=True),
        Outline("fat", LARGE),
        Outline("tumour", MIDDLE),
        Outline("", square(20, 20, 2), hole=True),
    ]
    path = write_xml(tmp_path / "a.xml", outlines)
    expected = painted((0, 0, 12, 3), (1, 1, 8, 2), (3, 3, 2, 3))
    np.testing.assert_array_equal(drawn(path, SCHEME), expected)
    assert [one.name for one in arranged(read_annotations(path, SCHEME).regions, SCHEME).loose] == ["4"]
    as_words = [feature("hole", square(3, 3, 2)), feature("fat", LARGE), feature("tumour", MIDDLE)]
    np.testing.assert_array_equal(drawn(write_geojson(tmp_path / "b.geojson", as_words), SCHEME), expected)


def test_a_hole_as_large_as_its_shape_leaves_nothing(tmp_path: Path) -> None:
    path = write_geojson(tmp_path / "a.geojson", [feature("fat", SMALL), feature("hole", SMALL)])
    assert not drawn(path, SCHEME).any()


def test_areas_without_truth_cover_like_any_class_and_background_fills_the_rest(tmp_path: Path) -> None:
    features = [feature("Ignore*", SMALL), feature("fat", MIDDLE), feature("Region", LARGE)]
    path = write_geojson(tmp_path / "a.geojson", features)
    scheme = replace(SCHEME, left_out=("region",), unlabelled="background")
    np.testing.assert_array_equal(drawn(path, scheme), painted((0, 0, 12, 1), (1, 1, 8, 3), (2, 2, 4, 0)))
    assert read_annotations(path, scheme).left_out == 1


def test_outlines_that_cross_themselves_are_mended(tmp_path: Path) -> None:
    # The end of a freehand outline runs over its start: by even-odd the overlap would be outside.
    freehand = [(0, 0), (8, 0), (8, 8), (3, 8), (3, -1), (5, -1), (5, 6), (0, 6)]
    bow = [(0, 8), (4, 12), (4, 8), (0, 12)]
    path = write_geojson(tmp_path / "a.geojson", [feature("tumour", freehand), feature("fat", bow)])
    labels = drawn(path, SCHEME)
    assert (labels[:6, 3:5] == 2).all()
    assert (labels[:6, :8] == 2).all()
    assert (labels[8:] == 3).sum() == 8
    annotations = read_annotations(path, SCHEME)
    assert [one.name for one in arranged(annotations.regions, SCHEME).crossing] == ["1", "2"]
    assert all(shapely.is_valid(one.outline) for one in arranged(annotations.regions, SCHEME).regions)


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        ({}, "region 2 says nothing, which names no class"),
        ({"name": "ROI 7"}, 'region 2 says "ROI 7"'),
    ],
)
def test_shapes_without_a_class_are_refused_or_left_out(
    properties: dict[str, Any], told: str, tmp_path: Path
) -> None:
    path = write_geojson(tmp_path / "a.geojson", [feature("fat", SMALL), feature(None, LARGE, **properties)])
    with pytest.raises(CohortError, match=told):
        read_annotations(path, SCHEME)
    annotations = read_annotations(path, replace(SCHEME, unclassified="leave out"))
    assert annotations.unclassified == ("2",)
    assert len(annotations.regions) == 1


def test_unknown_classes_are_told_with_the_nearest_known_one(tmp_path: Path) -> None:
    features = [feature("Tumoor", SMALL) for _ in range(7)] + [feature("Nerve", SMALL)]
    path = write_geojson(tmp_path / "a.geojson", features)
    with pytest.raises(CohortError) as caught:
        read_annotations(path, replace(SCHEME, unclassified="leave out"))
    assert str(caught.value) == (
        'a.geojson: regions 1, 2, 3, 4, 5 and 2 more say "Tumoor", which names no class; '
        'region 8 says "Nerve", which names no class. Did you mean "tumour"? '
        "The classes are stroma, tumour, fat."
    )


def test_many_shapes_are_drawn_as_few_are(tmp_path: Path) -> None:
    """By the tree of boxes: each lands in its place."""
    features = [
        feature(("stroma", "tumour", "fat")[(x + y) % 3], square(x, y, 1))
        for x in range(12)
        for y in range(12)
    ]
    expected = np.add.outer(np.arange(12), np.arange(12)) % 3 + 1
    np.testing.assert_array_equal(drawn(write_geojson(tmp_path / "a.geojson", features), SCHEME), expected)
