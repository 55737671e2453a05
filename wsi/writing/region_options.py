"""Options of the polygons of a label map, and the command that writes them. Imports no geometry library."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from ..palette import LabelClass, Palette

TOLERANCE_UM = 2.0
"""How far a border may lie from that of the pixels: about two label px, a third of a nucleus."""

MIN_AREA_UM2 = 500.0
"""Smaller islands and holes are left out: 25 um across, a handful of nuclei."""


@dataclass(frozen=True, slots=True)
class RegionOptions:
    """Options of the polygons of a label map."""

    palette: Palette
    """Names and colours; values that are not in it are left out."""
    tolerance_um: float = TOLERANCE_UM
    min_area_um2: float = MIN_AREA_UM2

    def to_json(self) -> str:
        """Return the options as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "RegionOptions":
        """Read what `to_json` returns."""
        data = json.loads(text)
        classes = tuple(
            LabelClass(one["value"], one["name"], tuple(one["colour"])) for one in data["palette"]["classes"]
        )
        return cls(Palette(classes), data["tolerance_um"], data["min_area_um2"])


def regions_command(labels: Path, out: Path, options: RegionOptions) -> tuple[str, ...]:
    """Return the command that writes `out` from `labels` (see `wsi.writing.geojson`)."""
    return (sys.executable, "-m", "wsi.writing.geojson", str(labels), str(out), options.to_json())
