"""Shapes as annotation files hold them: outlines in level-0 px, and the words that say their class."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import shapely
from numpy.typing import ArrayLike
from shapely import MultiPolygon, Polygon

from ..errors import CohortError

FARTHEST_PX = 1e9
"""Bound of vertex coordinates: no slide reaches this far, so a vertex beyond is damage."""

Outline: TypeAlias = Polygon | MultiPolygon


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """One shape of an annotation file; its class is not yet looked up."""

    name: str
    """Id or number in the file, for messages."""
    words: tuple[str, ...]
    """Texts that may name its class; the first that does counts."""
    outline: Outline | None
    """In l0 px; pixel (0, 0) reaches from 0 to 1. As it is in the file, so it may cross itself. None for
    points, lines and outlines of fewer than three vertices."""
    hole: bool = False
    """Whether the file says that it is a hole in another shape."""
    classified: bool = True
    """Whether the words stand where the file states a class; else they are a name that may be one."""


@dataclass(frozen=True, slots=True)
class ShapeFile:
    """Contents of an annotation file, in its order."""

    file: str
    """Name of the file, for messages."""
    shapes: tuple[Shape, ...]
    mpp: float | None = None
    """Pixel size that the file states."""
    passed_over: int = 0
    """Number of its objects that are no annotations: cells and other detections."""


def polygon_of(rings: Sequence[ArrayLike], where: str) -> Polygon | None:
    """Return the polygon of an outer ring and its holes; None where the outer ring has no area.

    `where` names file and shape.

    Raises:
        CohortError: A vertex is no position.
    """
    points = [_points(ring, where) for ring in rings]
    if not points or len(points[0]) < 3:
        return None
    return Polygon(points[0], [ring for ring in points[1:] if len(ring) >= 3])


def joined(polygons: Iterable[Polygon | None]) -> Outline | None:
    """Return one outline of several polygons, which may overlap; None of none."""
    parts = [polygon for polygon in polygons if polygon is not None]
    if len(parts) > 1:
        return MultiPolygon(parts)
    return parts[0] if parts else None


def mended(outline: Outline) -> Outline | None:
    """Return an outline that does not cross itself: what it encloses at least once is inside.

    None where no area is left.
    """
    valid = shapely.make_valid(outline, method="structure", keep_collapsed=False)
    parts = [part for part in shapely.get_parts(valid) if isinstance(part, Polygon) and not part.is_empty]
    return joined(parts)


def listed(names: Sequence[str], limit: int = 8) -> str:
    """Return names in a row; of many, the first and how many more there are."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")


def _points(ring: ArrayLike, where: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return vertices (V, 2) in l0 px.

    Raises:
        CohortError: They are no positions.
    """
    try:
        points = np.array(ring, np.float64)
    except (TypeError, ValueError) as error:
        raise CohortError(
            f"{where} has a vertex without numbers X and Y ({error}). Mend or remove it."
        ) from error
    if not points.size:
        return np.zeros((0, 2))
    if points.ndim != 2 or points.shape[1] < 2:
        raise CohortError(f"{where} has a vertex without numbers X and Y. Mend or remove it.")
    points = points[:, :2]
    if not (np.abs(points) < FARTHEST_PX).all():
        raise CohortError(
            f"{where} has a vertex that is on no slide (its X or Y is not finite, or beyond "
            f"{FARTHEST_PX:g} px). Mend or remove it."
        )
    closed = len(points) > 1 and (points[0] == points[-1]).all()
    return points[:-1] if closed else points
