"""Read annotation XML of Aperio ImageScope and of ASAP.

Parsed by the standard library's expat. A file with a DOCTYPE is refused: without one there are no entities,
so nothing can expand or be fetched, and neither program writes one. That is all defusedxml would add.
"""

import codecs
import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from ..errors import CohortError
from .shapes import Shape, ShapeFile, polygon_of

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

NO_AREA = {"dot", "pointset", "measurement", "arrow"}
"""Types of ASAP annotations that enclose nothing."""


def read_xml(path: Path) -> ShapeFile:
    """Read an ImageScope or ASAP file.

    The words of an ImageScope region are its Attributes' Value, its Text and the Name and Description of its
    layer; those of an ASAP annotation its group, and the groups that this is part of.

    Raises:
        CohortError: The file cannot be read, is no such XML or has a DOCTYPE, or a vertex is no position. The
            message names file and region.
    """
    try:
        root = _root(path.read_bytes())
    except (OSError, ET.ParseError, ValueError, LookupError) as error:
        raise CohortError(f"{path.name} cannot be read as XML ({error}). Export it again.") from error
    if root.tag == "Annotations":
        return ShapeFile(path.name, _image_scope(root, path.name), _mpp(root.get("MicronsPerPixel")))
    if root.tag == "ASAP_Annotations":
        return ShapeFile(path.name, _asap(root, path.name))
    raise CohortError(
        f"{path.name} starts with <{root.tag}>, an Aperio ImageScope file with <Annotations>, one of ASAP "
        "with <ASAP_Annotations>. Export it as one of them."
    )


def _root(data: bytes) -> ET.Element:
    """Return the root element, whatever the encoding.

    A mark at the start, or text that is plainly UTF-8, counts before what the declaration says: editors and
    scripts change the one and leave the other.
    """
    if not data.strip():
        raise ValueError("it is empty")
    mark = next((name for mark, name in BYTE_ORDER_MARKS.items() if data.startswith(mark)), None)
    if mark is not None:
        return _parse(data.decode(mark))
    try:
        return _parse(data)
    except (ET.ParseError, LookupError):
        return _parse(data.decode("utf-8"))


def _parse(text: str | bytes) -> ET.Element:
    return ET.fromstring(text, ET.XMLParser(target=_NoDoctype()))  # noqa: S314  (no DOCTYPE, no entities)


class _NoDoctype(ET.TreeBuilder):
    """Tree builder that refuses a DOCTYPE."""

    def doctype(self, _name: str, _public: str | None, _system: str | None) -> NoReturn:
        """Refuse a DOCTYPE; the parser calls this before it reads what the DOCTYPE declares."""
        raise ValueError("it has a DOCTYPE, which annotation programs never write")


def _image_scope(root: ET.Element, file: str) -> tuple[Shape, ...]:
    """Return the regions of all layers."""
    shapes: list[Shape] = []
    for layer in root.iter("Annotation"):
        of_layer = [layer.get("Name"), *_values(layer)]
        for region in layer.iter("Region"):
            name = region.get("Id") or f"number {len(shapes) + 1}"
            said = (*_values(region), region.get("Text"), *of_layer)
            words = tuple(text.strip() for text in said if text and text.strip())
            vertices = [(v.get("X", ""), v.get("Y", "")) for v in region.findall("Vertices/Vertex")]
            shapes.append(
                Shape(
                    name,
                    words,
                    polygon_of([vertices], f"{file}: region {name}"),
                    hole=region.get("NegativeROA") == "1",
                    classified=bool(words),
                )
            )
    return tuple(shapes)


def _values(element: ET.Element) -> list[str | None]:
    return [attribute.get("Value") for attribute in element.findall("Attributes/Attribute")]


def _asap(root: ET.Element, file: str) -> tuple[Shape, ...]:
    """Return the annotations with their groups."""
    parents = {group.get("Name", ""): group.get("PartOfGroup", "") for group in root.iter("Group")}
    shapes: list[Shape] = []
    for annotation in root.iter("Annotation"):
        name = annotation.get("Name") or f"number {len(shapes) + 1}"
        found = sorted(annotation.findall("Coordinates/Coordinate"), key=_order)
        vertices = [(vertex.get("X", ""), vertex.get("Y", "")) for vertex in found]
        flat = annotation.get("Type", "").casefold() in NO_AREA
        groups = _groups(annotation.get("PartOfGroup", ""), parents)
        outline = None if flat else polygon_of([vertices], f"{file}: annotation {name}")
        shapes.append(Shape(name, groups or (name,), outline, classified=bool(groups)))
    return tuple(shapes)


def _order(vertex: ET.Element) -> float:
    try:
        return float(vertex.get("Order", "0"))
    except ValueError:
        return 0.0


def _groups(group: str, parents: Mapping[str, str]) -> tuple[str, ...]:
    """Return a group and those that it is part of, the innermost first; "None" is none."""
    found: list[str] = []
    while group and group != "None" and group not in found:
        found.append(group)
        group = parents.get(group, "")
    return tuple(found)


def _mpp(text: str | None) -> float | None:
    """Return a positive finite number, or None for any other text."""
    try:
        mpp = float(text or "")
    except ValueError:
        return None
    return mpp if mpp > 0 and math.isfinite(mpp) else None
