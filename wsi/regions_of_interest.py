"""Hold the polygons that a job is limited to, as values and as JSON. Imports no geometry library."""

import functools
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from .errors import RegionsInvalidError

Unit = Literal["px", "um"]
"""Of coordinates: level-0 px of the slide, or micrometres; both from its upper left corner."""

Ring: TypeAlias = tuple[tuple[float, float], ...]
"""Closed: the last (x, y) is the first."""


_UNITS: dict[str, Unit] = {"px": "px", "um": "um"}


@dataclass(frozen=True, slots=True)
class RegionsOfInterest:
    """Polygons on a slide, such as a pathologist draws them: outside of them nothing is labelled."""

    unit: Unit
    polygons: tuple[tuple[Ring, ...], ...]
    """Of each its outline, then its holes. They may overlap."""

    def to_json(self) -> str:
        """Return the regions as JSON text; the same regions give the same text."""
        return json.dumps({"unit": self.unit, "polygons": self.polygons}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "RegionsOfInterest":
        """Read what `to_json` returns.

        Raises:
            RegionsInvalidError: it is something else.
        """
        try:
            data = json.loads(text)
            unit = _UNITS[data["unit"]]
            polygons = tuple(
                tuple(tuple((float(x), float(y)) for x, y in ring) for ring in polygon)
                for polygon in data["polygons"]
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise RegionsInvalidError(f"These are no regions of this version ({error!r}).") from error
        return cls(unit, polygons)


@functools.lru_cache(maxsize=64)
def _counted(text: str) -> tuple[str, int, int, str]:
    regions = RegionsOfInterest.from_json(text)
    vertices = sum(len(ring) - 1 for polygon in regions.polygons for ring in polygon)
    return regions.unit, len(regions.polygons), vertices, hashlib.sha256(text.encode()).hexdigest()


def regions_summary(text: str) -> dict[str, Any]:
    """Return what stands for regions, given as their JSON text, in records: there may be many vertices.

    Raises:
        RegionsInvalidError: the text is something else.
    """
    unit, polygons, vertices, sha256 = _counted(text)
    return {"unit": unit, "polygons": polygons, "vertices": vertices, "sha256": sha256}
