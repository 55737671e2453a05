"""Fields of a request that hold polygons: regions of interest, and a tissue mask of one's own."""

from typing import Annotated, Any, TypeAlias

from pydantic import Field, PlainValidator, TypeAdapter, WithJsonSchema

from wsi.read_regions import read_regions
from wsi.regions_of_interest import RegionsOfInterest

JOB_BYTES = 4 << 20
"""Longest JSON of a job, in bytes: as many vertices as polygons may have, as QuPath writes them, twice."""

POLYGON_SCHEMAS: tuple[dict[str, Any], ...] = (
    {
        "type": "object",
        "required": ["unit", "rectangles"],
        "properties": {
            "unit": {"enum": ["px", "um"]},
            "rectangles": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["x", "y", "width", "height"],
                    "properties": {side: {"type": "number"} for side in ("x", "y", "width", "height")},
                },
            },
        },
    },
    {"type": "object", "required": ["type"], "properties": {"type": {"type": "string"}}},
    {"type": "array", "items": {"type": "object"}},
)
"""Rectangles, a GeoJSON object, GeoJSON features."""

EXAMPLE = {"unit": "um", "rectangles": [{"x": 300, "y": 300, "width": 500, "height": 400}]}

_YES_OR_NO = TypeAdapter(bool)


def _regions(value: object) -> RegionsOfInterest | None:
    return None if value is None else read_regions(value)


def _tissue(value: object) -> bool | RegionsOfInterest:
    """Read polygons, as JSON or as the text of a form field, or what says yes or no, such as `off`."""
    if isinstance(value, dict | list) or (isinstance(value, str) and value.lstrip()[:1] in {"{", "["}):
        return read_regions(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError("send true, false or polygons")  # noqa: TRY004 - what pydantic reports
    return _YES_OR_NO.validate_python(value)


Regions: TypeAlias = Annotated[
    RegionsOfInterest | None,
    PlainValidator(_regions),
    WithJsonSchema({"anyOf": [*POLYGON_SCHEMAS, {"type": "null"}], "examples": [EXAMPLE]}),
    Field(
        description="Where to look: GeoJSON polygons, level-0 px, or rectangles with their unit. What lies "
        "outside is 0."
    ),
]
"""Where to look; None for the whole slide."""

Tissue: TypeAlias = Annotated[
    bool | RegionsOfInterest,
    PlainValidator(_tissue),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, *POLYGON_SCHEMAS], "examples": [False, EXAMPLE]}),
    Field(
        description="Look for tissue and leave glass out; false labels every pixel. GeoJSON polygons, "
        "level-0 px, or rectangles with their unit are a tissue mask of your own."
    ),
]
"""Whether to look for tissue, or where it is."""
