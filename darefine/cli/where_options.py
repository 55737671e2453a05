"""Options --regions and --tissue: where a command looks on slides."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from darefine.mask_picture import MaskPictureError, trace_mask_picture
from wsi.errors import WsiError
from wsi.reading.slide import open_slide
from wsi.slide_folders import FoundSlide

F = TypeVar("F", bound=Callable[..., Any])

REGIONS_HELP = (
    "Look only here: a file of GeoJSON (level-0 pixels) or of rectangles with their unit, or one rectangle "
    "x,y,width,height in level-0 pixels, in micrometres with um behind it."
)
TISSUE_HELP = (
    "on: find tissue, leave glass out. off: label every pixel. A file: a tissue mask of your own, polygons "
    "as for --regions, or a picture of the whole slide that is black where no tissue is."
)

_NUMBER = r"-?\d+(?:\.\d+)?"
_RECTANGLE = re.compile(rf"({_NUMBER}),({_NUMBER}),({_NUMBER}),({_NUMBER})(px|um)?")
_JSON_SUFFIXES = {".json", ".geojson"}


@dataclass(frozen=True, slots=True)
class MaskPicture:
    """A picture of a tissue mask; where its pixels lie depends on the slide."""

    path: Path


class Regions(click.ParamType[Any]):
    """A rectangle, or a file of polygons; whoever runs the job says what these must be."""

    name = "FILE|x,y,w,h"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the rectangle or the file: JSON values."""
        if rectangle := _RECTANGLE.fullmatch(str(value).replace(" ", "")):
            *sides, unit = rectangle.groups()
            one = dict(zip(("x", "y", "width", "height"), map(float, sides), strict=True))
            return {"unit": unit or "px", "rectangles": [one]}
        return self.json_of(Path(str(value)), param, ctx)

    def json_of(self, path: Path, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a file of JSON."""
        try:
            return json.loads(path.read_bytes())
        except OSError as error:
            self.fail(f"{path} cannot be read: {error.strerror}.", param, ctx)
        except (ValueError, RecursionError) as error:
            self.fail(f"{path} is no JSON: {error}.", param, ctx)


class Tissue(Regions):
    """`on`, `off`, or a file: polygons or a picture."""

    name = "on|off|FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return True or False, JSON values, or a MaskPicture."""
        if value in ("on", "off"):
            return value == "on"
        path = Path(str(value))
        if path.suffix.lower() in _JSON_SUFFIXES:
            return self.json_of(path, param, ctx)
        if not path.is_file():
            self.fail(f"{value} is neither on, off nor a file.", param, ctx)
        return MaskPicture(path)


def where_options(command: F) -> F:
    """Give a command the parameters `regions` and `tissue`."""
    tissue = click.option("--tissue", type=Tissue(), default="on", show_default=True, help=TISSUE_HELP)
    return click.option("--regions", type=Regions(), help=REGIONS_HELP)(tissue(command))


def tissue_on(found: Sequence[FoundSlide], tissue: Any) -> Any:
    """Return what --tissue says as a job takes it: True, False or polygons.

    Raises:
        UsageError: a picture is no mask of these slides.
    """
    if not isinstance(tissue, MaskPicture):
        return tissue
    if len(found) != 1:
        raise click.UsageError(f"--tissue {tissue.path} is a mask of one slide; these are {len(found)}.")
    try:
        with open_slide(found[0].path) as slide:
            return trace_mask_picture(tissue.path, slide.info.size)
    except (MaskPictureError, WsiError) as error:
        raise click.UsageError(f"--tissue {tissue.path}: {error}") from error
