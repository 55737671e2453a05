"""Read the annotations of a slide, of any format, and look up the class of each region."""

import difflib
from dataclasses import dataclass
from pathlib import Path

from ..errors import CohortError
from .annotation_xml import read_xml
from .class_scheme import HOLE, LEFT_OUT, NO_TRUTH, ClassScheme
from .geojson import read_geojson
from .shapes import Outline, Shape, ShapeFile, listed

GEOJSON_SUFFIXES = (".geojson", ".geojson.gz", ".json", ".json.gz")
SHAPE_SUFFIXES = (*GEOJSON_SUFFIXES, ".xml")
"""Ends of the names of files with shapes, in lower case."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Outline of one region and its class."""

    name: str
    """Id or number in the file, for messages."""
    value: int
    """Class value; 0 where there is no truth, and for a hole."""
    outline: Outline
    """In l0 px; pixel (0, 0) reaches from 0 to 1. As it is in the file, so it may cross itself."""
    hole: bool = False
    """Whether it is a hole in another region."""


@dataclass(frozen=True, slots=True)
class Annotations:
    """Contents of one file, in its order."""

    file: str
    """Name of the file, for messages."""
    mpp: float | None
    """Pixel size that the file states."""
    regions: tuple[Region, ...]
    skipped: tuple[str, ...]
    """Names of regions with fewer than three vertices, which have no area and are left out."""
    unclassified: tuple[str, ...] = ()
    """Names of regions without a class that are left out."""
    left_out: int = 0
    """Number of regions that the scheme leaves out."""
    passed_over: int = 0
    """Number of cells and other detections."""


def read_shapes(path: Path) -> ShapeFile:
    """Read a file of GeoJSON or XML.

    Raises:
        CohortError: It cannot be read, or a vertex is no position. The message names file and region.
    """
    return read_geojson(path) if path.name.lower().endswith(GEOJSON_SUFFIXES) else read_xml(path)


def read_annotations(path: Path, scheme: ClassScheme) -> Annotations:
    """Read a file of GeoJSON or XML, with the classes of a scheme.

    Raises:
        CohortError: The file cannot be read, a vertex is no position, or the words of a region name no class
            or several. The message names file and region.
    """
    shapes = read_shapes(path)
    regions: list[Region] = []
    unclassified: list[str] = []
    problems: dict[str, list[str]] = {}
    drawn = [shape for shape in shapes.shapes if shape.outline is not None]
    for shape in drawn:
        meaning, problem = _meaning(shape, scheme)
        if problem is not None and not shape.classified and scheme.unclassified == "leave out":
            unclassified.append(shape.name)
        elif problem is not None:
            problems.setdefault(problem, []).append(shape.name)
        elif meaning != LEFT_OUT:
            assert shape.outline is not None
            value = meaning if isinstance(meaning, int) else 0
            regions.append(Region(shape.name, value, shape.outline, hole=meaning == HOLE))
    if problems:
        raise CohortError(f"{path.name}: {_told(problems, scheme)}")
    return Annotations(
        file=shapes.file,
        mpp=shapes.mpp,
        regions=tuple(regions),
        skipped=tuple(shape.name for shape in shapes.shapes if shape.outline is None),
        unclassified=tuple(unclassified),
        left_out=len(drawn) - len(regions) - len(unclassified),
        passed_over=shapes.passed_over,
    )


def _meaning(shape: Shape, scheme: ClassScheme) -> tuple[int | str, str | None]:
    """Return what a shape is, or what is wrong with its words."""
    if shape.hole:
        return HOLE, None
    for word in shape.words:
        meant = scheme.meanings(word)
        if len(meant) == 1:
            return meant[0], None
        if meant:
            return NO_TRUTH, f'"{word}", which names several classes'
    if not shape.classified and not shape.words:
        return NO_TRUTH, "nothing, which names no class"
    return NO_TRUTH, " and ".join(f'"{word}"' for word in shape.words) + ", which names no class"


def _told(problems: dict[str, list[str]], scheme: ClassScheme) -> str:
    """Return in words which regions have which words that are no class."""
    said = "; ".join(
        f"region{'s' * (len(names) > 1)} {listed(names, 5)} say{'s' * (len(names) == 1)} {problem}"
        for problem, names in list(problems.items())[:5]
    )
    more = f"; and {len(problems) - 5} more such words" if len(problems) > 5 else ""
    known = [word for entry in scheme.classes for word in (entry.name, *entry.aliases)]
    word = next(iter(problems)).split('"')[1] if '"' in next(iter(problems)) else ""
    near = difflib.get_close_matches(word.casefold(), [one.casefold() for one in known], 1)
    hint = f' Did you mean "{near[0]}"?' if near else ""
    return f"{said}{more}.{hint} The classes are {scheme.vocabulary()}."
