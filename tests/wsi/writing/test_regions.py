"""Regions of label maps as polygons, judged by shapely against the union of the pixels' own squares."""

from dataclasses import dataclass

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from wsi.geometry import Rect, Size
from wsi.writing.regions import Region, trace_regions

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class ArrayLabels:
    """A label map in memory."""

    labels: Labels

    @property
    def size(self) -> Size:
        return Size(self.labels.shape[1], self.labels.shape[0])

    def read(self, rect: Rect) -> Labels:
        return np.ascontiguousarray(self.labels[rect.y : rect.bottom, rect.x : rect.right])


def trace(
    labels: Labels, tolerance_px: float = 0, min_area_px: float = 0, block_px: int = 16
) -> list[Region]:
    return list(
        trace_regions(
            ArrayLabels(labels), tolerance_px=tolerance_px, min_area_px=min_area_px, block_px=block_px
        )
    )


def squares(mask: NDArray[np.bool_]) -> shapely.Geometry:
    """The union of the pixels of a mask."""
    y, x = np.nonzero(mask)
    return shapely.union_all(shapely.box(x, y, x + 1, y + 1))


def outlines(regions: list[Region], value: int) -> list[shapely.Polygon]:
    return [region.outline for region in regions if region.value == value]


@st.composite
def label_maps(draw: st.DrawFn) -> Labels:
    """Random maps of 0..3: noise, enlarged by 1 to 4 so that borders run along several pixels."""
    shape = draw(st.tuples(st.integers(1, 14), st.integers(1, 14)))
    noise = draw(arrays(np.uint8, shape, elements=st.integers(0, 3)))
    enlarged = noise.repeat(draw(st.integers(1, 4)), 0).repeat(draw(st.integers(1, 4)), 1)
    sheared = [np.roll(row, draw(st.integers(-1, 1))) for row in enlarged]
    return np.ascontiguousarray(np.stack(sheared))


@settings(max_examples=60, deadline=None)
@given(label_maps(), st.sampled_from([0.0, 0.6, 1.0, 2.5, 6.0]), st.sampled_from([7, 16, 64]))
def test_polygons_are_valid_and_within_the_tolerance(labels: Labels, tolerance: float, block: int) -> None:
    regions = trace(labels, tolerance, block_px=block)
    for region in regions:
        assert shapely.is_valid(region.outline), shapely.is_valid_reason(region.outline)
    every = shapely.union_all([region.outline for region in regions])
    assert every.area == pytest.approx(sum(region.outline.area for region in regions)), "an overlap"
    for value in np.unique(labels[labels > 0]):
        exact, own = squares(labels == value), shapely.union_all(outlines(regions, value))
        between = shapely.hausdorff_distance(exact.boundary, own.boundary, densify=0.1)
        assert between <= tolerance + 1e-9
        assert abs(exact.area - own.area) <= tolerance * exact.length


@settings(max_examples=40, deadline=None)
@given(label_maps(), st.sampled_from([0.6, 1.0, 2.5, 6.0]), st.sampled_from([7, 16, 64]))
def test_no_gap_opens_between_neighbours(labels: Labels, tolerance: float, block: int) -> None:
    """A map without glass is covered wholly, and by the test above without overlaps."""
    filled = np.where(labels == 0, 1, labels).astype(np.uint8)
    every = shapely.union_all([region.outline for region in trace(filled, tolerance, block_px=block)])
    assert every.equals(shapely.box(0, 0, filled.shape[1], filled.shape[0]))


@settings(max_examples=30, deadline=None)
@given(label_maps(), st.sampled_from([0, 3, 12]))
def test_blocks_leave_no_seam(labels: Labels, min_area: int) -> None:
    """Traced block by block, it is the same polygons as traced at once."""
    parts, whole = (trace(labels, 0, min_area, block) for block in (5, 4096))
    assert [region.value for region in parts] == [region.value for region in whole]
    by_place = [
        sorted((r.value, shapely.normalize(shapely.simplify(r.outline, 0)).wkt) for r in regions)
        for regions in (parts, whole)
    ]
    assert by_place[0] == by_place[1]


def test_a_small_island_becomes_part_of_what_surrounds_it() -> None:
    labels = np.ones((40, 40), np.uint8)
    labels[14:18, 14:18] = 2  # over the edge of a block
    labels[30:35, 30:35] = 0
    assert [(r.value, r.outline.area) for r in trace(labels, 1, min_area_px=26)] == [(1, 1600)]
    assert [(r.value, r.outline.area) for r in trace(labels, 1, min_area_px=25)] == [(1, 1575)]
    assert [(r.value, r.outline.area) for r in trace(labels, 0, min_area_px=16)] == [(1, 1559), (2, 16)]


def test_a_small_island_between_two_classes_is_left_out() -> None:
    labels = np.ones((40, 40), np.uint8)
    labels[:, 20:] = 2
    labels[18:22, 18:22] = 3
    regions = trace(labels, 0, min_area_px=17)
    assert [(region.value, region.outline.area) for region in regions] == [(1, 792), (2, 792)]


def test_large_regions_come_first_and_holes_are_kept() -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[2:12, 2:12] = 2
    labels[20:60, 20:60] = 2
    labels[30:40, 30:40] = 1
    found = [(region.value, region.outline.area, len(region.outline.interiors)) for region in trace(labels)]
    assert found == [(1, 100, 0), (2, 1500, 1), (2, 100, 0)]


def test_a_slope_needs_few_corners() -> None:
    """A staircase of 200 px is simplified to a line, even where blocks cut it."""
    labels = np.tril(np.ones((200, 200), np.uint8))
    (region,) = trace(labels, tolerance_px=1, block_px=50)
    assert shapely.get_num_coordinates(region.outline) < 20
    assert region.outline.area == pytest.approx(200 * 201 / 2, abs=200)


def test_an_empty_map_has_no_regions() -> None:
    assert trace(np.zeros((30, 30), np.uint8), 1) == []
