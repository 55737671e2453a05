"""Writes annotation XML as ASAP does, from outlines of the test's own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

Outline = tuple[str, Sequence[tuple[float, float]]]
"""Group and vertices."""


def asap_xml(outlines: Sequence[Outline], parents: Mapping[str, str] | None = None) -> str:
    annotations = "".join(
        f'<Annotation Name="Annotation {number}" Type="Polygon" PartOfGroup="{group}" Color="#F4FA58">'
        "<Coordinates>"
        + "".join(f'<Coordinate Order="{k}" X="{x}" Y="{y}" />' for k, (x, y) in enumerate(vertices))
        + "</Coordinates></Annotation>"
        for number, (group, vertices) in enumerate(outlines)
    )
    groups = {group: "None" for group, _ in outlines if group != "None"} | dict(parents or {})
    return (
        '<?xml version="1.0"?>\n<ASAP_Annotations><Annotations>'
        + annotations
        + "</Annotations><AnnotationGroups>"
        + "".join(
            f'<Group Name="{name}" PartOfGroup="{parent}" Color="#64FE2E"><Attributes /></Group>'
            for name, parent in groups.items()
        )
        + "</AnnotationGroups></ASAP_Annotations>\n"
    )


def write_asap(path: Path, outlines: Sequence[Outline], parents: Mapping[str, str] | None = None) -> Path:
    path.write_text(asap_xml(outlines, parents))
    return path
