"""Simplify polygons that share borders: neighbours still fit, and no border moves beyond a tolerance.

Borders are cut into arcs between the points where three polygons, or a polygon and the frame, meet. Those
points stay; each arc between them is simplified by Douglas and Peucker's rule, always in the same direction,
so that both neighbours get the same corners. (Shapely's own `coverage_simplify` limits the area of each
corner that is cut off, not how far a border moves.)
"""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from ..geometry import Rect

Polygons = NDArray[np.object_]
"""Shapely polygons, one-dimensional."""

_Integers = NDArray[np.int64]
_Flags = NDArray[np.bool_]

_HALVINGS = 3
"""How often the tolerance of arcs that got into each other's way is halved before they stay as they are."""


def simplify_coverage(polygons: Polygons, tolerance_px: float, frame: Rect) -> Polygons:
    """Simplify polygons that do not overlap and whose corners are whole pixels of `frame`.

    Old and new border are within `tolerance_px` of each other everywhere, equal on the frame's outline.
    Polygons stay valid, without overlaps, and share borders exactly where they did. New corners are among the
    old ones. Arcs that would cross are simplified less. Memory: about 300 bytes a pixel side of the borders.
    """
    if not len(polygons):
        return polygons
    arcs = _Arcs.of(polygons, frame)
    tolerances = np.where(arcs.on_frame, 0.0, tolerance_px)
    halvings = 0
    while True:
        lines = arcs.simplified(tolerances)
        wrong = _clashes(lines)
        if not wrong.any():
            simplified = arcs.polygons(lines)
            # Nothing crosses, yet a border may have moved over something small as a whole.
            wrong = arcs.around(_misfits(simplified))
            if not wrong.any():
                return simplified
        tolerances[wrong] *= 0.5 if halvings < _HALVINGS else 0.0
        halvings += 1


def _clashes(lines: Polygons) -> _Flags:
    """Tell which arcs cross or touch themselves or another one other than end to end."""
    wrong: _Flags = ~shapely.is_simple(lines)
    one, other = shapely.STRtree(lines).query(lines, predicate="intersects")
    one, other = one[one < other], other[one < other]
    clash = ~shapely.relate_pattern(lines[one], lines[other], "FF*F*****")
    wrong[one[clash]] = wrong[other[clash]] = True
    return wrong


def _misfits(polygons: Polygons) -> _Flags:
    """Tell which polygons are invalid or overlap another."""
    invalid: _Flags = ~shapely.is_valid(polygons)
    if invalid.any() or shapely.coverage_is_valid(polygons):
        return invalid
    return np.asarray(~shapely.is_empty(shapely.coverage_invalid_edges(polygons)), np.bool_)


@dataclass(frozen=True, slots=True)
class _Arcs:
    """Borders of polygons, cut into arcs; two polygons with an arc between them share its line."""

    lines: Polygons
    """Line strings, from the end with the smaller pixel number."""
    key: _Integers
    """The line of each arc, ring by ring."""
    reversed: _Flags
    """Whether the ring runs against the line."""
    ring: _Integers
    ring_polygon: _Integers
    """The polygon of each ring; its first ring is its shell."""
    on_frame: _Flags
    """Whether a key's arc lies on the outline of the frame."""

    @classmethod
    def of(cls, polygons: Polygons, frame: Rect) -> "_Arcs":
        """Cut the borders of polygons in whole pixels."""
        rings, ring_polygon = shapely.get_rings(polygons, return_index=True)
        dense, ring = shapely.get_coordinates(shapely.segmentize(rings, 1.0), return_index=True)
        last = np.flatnonzero(np.append(np.diff(ring) > 0, True))
        open_ring = np.delete(np.arange(len(ring)), last)
        points = np.rint(dense[open_ring]).astype(np.int64) - (frame.x, frame.y)
        points, ring, start, edge, on_frame = _cut(points, ring[open_ring], frame)
        first = np.flatnonzero(start)
        arc_ring = ring[first]
        # The end of an arc is the start of the next one of the same ring.
        ends = np.append(first[1:], 0)
        closing = np.flatnonzero(np.append(np.diff(arc_ring) > 0, True))
        ends[closing] = first[np.append(0, closing[:-1] + 1)]
        order = np.insert(np.arange(len(ring)), np.append(first[1:], len(ring)), ends)
        arc = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(ring))) + 1)
        number = points[:, 1] * (frame.width + 1) + points[:, 0]
        lines = shapely.linestrings(points[order] + (frame.x, frame.y), indices=arc)
        backwards = number[first] > number[ends]
        lines[backwards] = shapely.reverse(lines[backwards])
        _, one, key = np.unique(np.minimum.reduceat(edge, first), return_index=True, return_inverse=True)
        return cls(lines[one], key, backwards, arc_ring, ring_polygon.astype(np.int64), on_frame[first][one])

    def around(self, wanted: _Flags) -> _Flags:
        """Tell which lines lie around some polygons."""
        found = np.zeros(len(self.lines), np.bool_)
        found[self.key[wanted[self.ring_polygon[self.ring]]]] = True
        return found

    def simplified(self, tolerances: NDArray[np.float64]) -> Polygons:
        """Return the lines, each simplified by its own tolerance."""
        return np.asarray(shapely.simplify(self.lines, tolerances, preserve_topology=False))

    def polygons(self, lines: Polygons) -> Polygons:
        """Put the polygons together again from other lines between the same ends; they may be invalid."""
        own = lines[self.key]
        own[self.reversed] = shapely.reverse(own[self.reversed])
        points, arc = shapely.get_coordinates(own, return_index=True)
        kept = np.append(np.diff(arc) == 0, False)
        rings = shapely.linearrings(points[kept], indices=self.ring[arc[kept]])
        return np.asarray(shapely.polygons(rings, indices=self.ring_polygon))


def _cut(
    points: _Integers, ring: _Integers, frame: Rect
) -> tuple[_Integers, _Integers, _Flags, _Integers, _Flags]:
    """Turn each ring so that it begins with an arc; tell where arcs begin.

    `points` (N, 2) are every pixel corner along the rings, relative to the frame, without the repeated last
    one. Returns points and rings in the new order; whether an arc begins there; and of the unit edge that
    follows each point a number and whether it lies on the frame's outline.
    """
    number = points[:, 1] * (frame.width + 1) + points[:, 0]
    begins = np.flatnonzero(np.append(True, np.diff(ring) > 0))
    sizes = np.diff(np.append(begins, len(ring)))
    following = np.arange(len(ring)) + 1
    following[begins + sizes - 1] = begins
    edge, on_frame = _unit_edges(points, number, following, frame)
    node = _nodes(number, number[following], edge, on_frame, (frame.width + 1) * (frame.height + 1))
    _split_loops(node, points, number, begins)
    is_node = node[number]
    first_node = np.minimum.reduceat(np.where(is_node, np.arange(len(ring)), len(ring)), begins)
    place = (np.arange(len(ring)) - np.repeat(first_node, sizes)) % np.repeat(sizes, sizes)
    order = np.lexsort((place, ring))
    return points[order], ring[order], is_node[order], edge[order], on_frame[order]


def _unit_edges(
    points: _Integers, number: _Integers, following: _Integers, frame: Rect
) -> tuple[_Integers, _Flags]:
    """Return of the edge from each point to the one following: a number, and whether the frame has it."""
    after = points[following]
    horizontal = points[:, 1] == after[:, 1]
    along_x, along_y = horizontal, ~horizontal
    outer_row = (points[:, 1] == 0) | (points[:, 1] == frame.height)
    outer_column = (points[:, 0] == 0) | (points[:, 0] == frame.width)
    edge = 2 * np.minimum(number, number[following]) + horizontal
    return edge, (along_x & outer_row) | (along_y & outer_column)


def _nodes(start: _Integers, end: _Integers, edge: _Integers, on_frame: _Flags, corners: int) -> _Flags:
    """Tell of each pixel corner whether arcs end there: not two edges meet, or one of them is the frame's."""
    _, once = np.unique(edge, return_index=True)
    both = np.concatenate([start[once], end[once]])
    degree = np.bincount(both, minlength=corners)
    framed = np.bincount(both, weights=np.tile(on_frame[once], 2), minlength=corners)
    return np.asarray((degree > 2) | ((degree == 2) & (framed == 1)), np.bool_)


def _split_loops(node: _Flags, points: _Integers, number: _Integers, begins: _Integers) -> None:
    """Give every ring two nodes at least, chosen by the points alone so that neighbours choose the same."""
    counts = np.add.reduceat(node[number].astype(np.int64), begins)
    node[np.minimum.reduceat(number, begins)[counts == 0]] = True
    ends = np.append(begins[1:], len(number))
    for ring in np.flatnonzero(np.add.reduceat(node[number].astype(np.int64), begins) == 1):
        own = slice(begins[ring], ends[ring])
        corner = points[own][node[number[own]]][0]
        distance = ((points[own] - corner) ** 2).sum(1)
        node[number[own][distance == distance.max()].min()] = True
