"""Read Aperio ImageScope annotations (the XML of ICIAR2018 part B) and draw the truth that they outline.

Parsed by the standard library's expat. A file with a DOCTYPE is refused: without one there are no entities,
so nothing can expand or be fetched, and ImageScope writes none. That is all defusedxml would add.
"""

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from wsi.geometry import Rect, Size

from ..errors import CohortError
from .polygons import Points, polygon_mask

NORMAL = 1
"""Value of the class "normal", which also everything has that no region covers."""

WORDINGS = {"normal": NORMAL, "benign": 2, "situ": 3, "invasive": 4}
"""Class value by the word that the text of a region must contain, in upper or lower case."""

FARTHEST_PX = 1e9
"""Bound of vertex coordinates: no slide reaches this far, so a vertex beyond is damage."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Outline of one region and its class."""

    name: str
    """Id in the file, for messages."""
    value: int
    """Class value; NORMAL for a hole (`NegativeROA`), whatever its words."""
    vertices_l0: Points
    """(V, 2), V >= 3: x and y in l0 px; pixel (0, 0) reaches from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Annotations:
    """Contents of one XML, in the order of the file."""

    file: str
    """Name of the file, for messages."""
    mpp: float | None
    """`MicronsPerPixel` of the root; None unless it is a number above 0."""
    regions: tuple[Region, ...]
    skipped: tuple[str, ...]
    """Names of regions with fewer than three vertices, which have no area and are left out."""


class AnnotationTruth:
    """Truth of a slide drawn from its annotations on demand. Thread-safe. Memory: the vertices.

    A label px belongs to a region if its centre does, by the even-odd rule where an outline crosses itself.
    Regions are painted in file order: a later one covers an earlier one. What lies outside the slide is cut
    off.
    """

    def __init__(
        self, annotations: Annotations, label_size: Size, downsample: int, *, unannotated: int = NORMAL
    ) -> None:
        """Scale the outlines to the grid.

        Args:
            annotations: Regions in l0 px.
            label_size: Size of the slide's label map, in label px.
            downsample: l0 px a label px of the slide's grid.
            unannotated: Value where no region is.
        """
        self._frame = Rect.of(label_size)
        self._unannotated = unannotated
        self._values = [region.value for region in annotations.regions]
        self._outlines = [region.vertices_l0 / downsample for region in annotations.regions]
        self._boxes = [_box(outline) for outline in self._outlines]

    def read(self, rect: Rect) -> NDArray[np.uint8]:
        """Return the class values (H, W) of a rectangle of label px, 0 outside the label map.

        The values of a pixel do not depend on the rectangle it is read with.
        """
        labels = np.zeros((rect.height, rect.width), np.uint8)
        inside = rect.intersect(self._frame)
        _part(labels, rect, inside)[...] = self._unannotated
        for outline, value, box in zip(self._outlines, self._values, self._boxes, strict=True):
            touched = box.intersect(inside)
            if not touched.is_empty:
                _part(labels, rect, touched)[polygon_mask(outline, touched)] = value
        return labels


def read_annotations(path: Path) -> Annotations:
    """Read an ImageScope XML.

    The class of a region is the first of its Attributes' Value and its own Text that names one.

    Raises:
        CohortError: The file cannot be read, is no such XML or has a DOCTYPE, the words of a region name no
            class or several, or a vertex is no position. The message names file and region.
    """
    try:
        root = ET.parse(path, ET.XMLParser(target=_NoDoctype())).getroot()  # noqa: S314  (no DOCTYPE, no entities)
    except (OSError, ET.ParseError, ValueError, LookupError) as error:
        raise CohortError(f"{path.name} cannot be read as XML ({error}). Export it again.") from error
    if root.tag != "Annotations":
        raise CohortError(
            f"{path.name} starts with <{root.tag}>, an Aperio ImageScope file with <Annotations>. "
            "Export it as that."
        )
    outlines = [
        (name, element, element.findall("Vertices/Vertex"))
        for number, element in enumerate(root.iter("Region"), start=1)
        for name in [element.get("Id") or f"number {number}"]
    ]
    return Annotations(
        file=path.name,
        mpp=_mpp(root.get("MicronsPerPixel")),
        regions=tuple(
            Region(name, _class_value(element, path.name, name), _points(vertices, path.name, name))
            for name, element, vertices in outlines
            if len(vertices) >= 3
        ),
        skipped=tuple(name for name, _, vertices in outlines if len(vertices) < 3),
    )


class _NoDoctype(ET.TreeBuilder):
    """Tree builder that refuses a DOCTYPE."""

    def doctype(self, _name: str, _public: str | None, _system: str | None) -> NoReturn:
        """Refuse a DOCTYPE; the parser calls this before it reads what the DOCTYPE declares."""
        raise ValueError("it has a DOCTYPE, which ImageScope never writes")


def _class_value(element: ET.Element, file: str, name: str) -> int:
    """Return the class that a region's attributes or text name; NORMAL for a hole."""
    if element.get("NegativeROA") == "1":
        return NORMAL
    values = [attribute.get("Value") for attribute in element.findall("Attributes/Attribute")]
    words = [text.strip() for text in (*values, element.get("Text")) if text and text.strip()]
    for text in words:
        named = [value for wording, value in WORDINGS.items() if wording in text.lower()]
        if len(named) == 1:
            return named[0]
        if named:
            raise CohortError(f'{file}: region {name} says "{text}", which names several classes. Keep one.')
    said = " and ".join(f'"{text}"' for text in words) or "nothing"
    raise CohortError(
        f"{file}: region {name} says {said}, which names no class. Its Attribute Value or its Text must "
        f"contain one of {', '.join(WORDINGS)}."
    )


def _points(vertices: list[ET.Element], file: str, name: str) -> Points:
    """Return the vertices (V, 2) of a region in l0 px."""
    try:
        points = np.array([(float(v.get("X", "")), float(v.get("Y", ""))) for v in vertices])
    except ValueError as error:
        raise CohortError(
            f"{file}: region {name} has a vertex without numbers X and Y ({error}). Mend or remove it."
        ) from error
    if not (np.abs(points) < FARTHEST_PX).all():
        raise CohortError(
            f"{file}: region {name} has a vertex that is on no slide (its X or Y is not finite, or beyond "
            f"{FARTHEST_PX:g} px). Mend or remove it."
        )
    return points


def _mpp(text: str | None) -> float | None:
    """Return a positive finite number, or None for any other text."""
    try:
        mpp = float(text or "")
    except ValueError:
        return None
    return mpp if mpp > 0 and math.isfinite(mpp) else None


def _box(outline: Points) -> Rect:
    """Return the pixels that an outline may touch."""
    left, top = np.floor(outline.min(axis=0)).astype(int)
    right, bottom = np.ceil(outline.max(axis=0)).astype(int)
    return Rect(int(left), int(top), int(right - left), int(bottom - top))


def _part(labels: NDArray[np.uint8], rect: Rect, part: Rect) -> NDArray[np.uint8]:
    """Return the view of `part` in the labels of `rect`."""
    at = part.moved(-rect.x, -rect.y)
    return labels[at.y : at.bottom, at.x : at.right]
