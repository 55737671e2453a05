"""Polygons to pixels, against a point-in-polygon test of its own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.data.polygons import polygon_mask
from wsi.geometry import Rect

FRAME = Rect(0, 0, 12, 10)

# Quarter pixels bring vertices and edges onto pixel centres as often as beside them.
coordinate = st.integers(-40, 80).map(lambda quarter: quarter / 4)
polygons = st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=9).map(np.array)


def inside(polygon: NDArray[np.float64], x: float, y: float) -> bool:
    """Even-odd: how often does a ray to the left cross the outline? Exact, as quarters are."""
    crossings = 0
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if min(y0, y1) <= y < max(y0, y1):
            # x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x without the division.
            side = (x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)
            crossings += side >= 0 if y1 > y0 else side <= 0
    return crossings % 2 == 1


@given(polygons)
def test_a_pixel_is_inside_if_its_centre_is(polygon: NDArray[np.float64]) -> None:
    expected = [[inside(polygon, x + 0.5, y + 0.5) for x in range(12)] for y in range(10)]
    np.testing.assert_array_equal(polygon_mask([polygon], FRAME), expected)


@given(polygons, st.integers(1, 11), st.integers(1, 9))
def test_rectangles_that_meet_fit_together(polygon: NDArray[np.float64], x: int, y: int) -> None:
    parts = [
        [
            polygon_mask([polygon], Rect(left, top, right - left, bottom - top))
            for left, right in ((0, x), (x, 12))
        ]
        for top, bottom in ((0, y), (y, 10))
    ]
    np.testing.assert_array_equal(np.block(parts), polygon_mask([polygon], FRAME))


@given(polygons, st.integers(0, 8))
def test_where_it_starts_and_which_way_it_turns_do_not_matter(
    polygon: NDArray[np.float64], start: int
) -> None:
    turned = np.roll(polygon, start, axis=0)[::-1]
    np.testing.assert_array_equal(polygon_mask([turned], FRAME), polygon_mask([polygon], FRAME))


@given(st.lists(st.floats(0.1, 11.9), min_size=4, max_size=4), st.floats(0, 10), st.floats(0, 10))
def test_polygons_that_share_an_edge_neither_overlap_nor_leave_a_gap(
    x: list[float], first: float, second: float
) -> None:
    shared = [(x[0], 0.0), (x[1], first), (x[2], second), (x[3], 10.0)]
    left = polygon_mask([np.array([(0, 0), *shared, (0, 10)])], FRAME)
    right = polygon_mask([np.array([*shared, (12, 10), (12, 0)])], FRAME)
    np.testing.assert_array_equal(left, ~right)


def test_a_square_is_as_large_as_it_says() -> None:
    assert polygon_mask([np.array([(2, 2), (6, 2), (6, 6), (2, 6.0)])], FRAME).sum() == 16


def test_what_is_covered_twice_is_outside() -> None:
    ring = np.array([(0, 0), (9, 0), (9, 9), (0, 9), (0, 0), (3, 3), (6, 3), (6, 6), (3, 6), (3, 3.0)])
    mask = polygon_mask([ring], FRAME)
    assert not mask[3:6, 3:6].any()
    assert mask.sum() == 81 - 9


@pytest.mark.parametrize(
    "vertices",
    [
        [(3, 3), (3, 3), (3, 3)],
        [(1, 5), (9, 5), (4, 5)],
        [(5, 1), (5, 9), (5, 4)],
        [(20, 20), (30, 20), (30, 30)],
        [(-9, 0), (-9, 9), (-1, 4)],
    ],
)
def test_without_area_or_out_of_sight_nothing_is_inside(vertices: list[tuple[float, float]]) -> None:
    assert not polygon_mask([np.array(vertices, float)], FRAME).any()


def test_a_polygon_all_around_covers_all_and_far_vertices_do_no_harm() -> None:
    assert polygon_mask([np.array([(-9e8, -9e8), (9e8, -9e8), (9e8, 9e8), (-9e8, 9e8)])], FRAME).all()
