"""Writes ImageScope XML as ICIAR2018 part B has it, from outlines of the test's own."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

Vertices = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Outline:
    """A region to write: vertices (x, y in l0 px), and the words of its class, in an Attribute or in Text."""

    words: str
    vertices: Vertices
    as_text: bool = False
    hole: bool = False


def xml_of(outlines: Iterable[Outline], *, mpp: float | str = 0.467) -> str:
    regions = "".join(_region(number, outline) for number, outline in enumerate(outlines, start=1))
    return (
        f'<Annotations MicronsPerPixel="{mpp}">'
        '<Annotation Id="1" Type="4"><Attributes><Attribute Name="Description" Value=""/></Attributes>'
        '<Regions><RegionAttributeHeaders><AttributeHeader Id="9999" Name="Region"/></RegionAttributeHeaders>'
        f"{regions}</Regions><Plots/></Annotation></Annotations>"
    )


def write_xml(path: Path, outlines: Iterable[Outline], *, mpp: float | str = 0.467) -> Path:
    path.write_text(xml_of(outlines, mpp=mpp))
    return path


def _region(number: int, outline: Outline) -> str:
    value, text = ("", outline.words) if outline.as_text else (outline.words, "")
    vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in outline.vertices)
    return (
        f'<Region Id="{number}" Type="0" NegativeROA="{int(outline.hole)}" AreaMicrons="1.5" '
        f"Text={quoteattr(text)}>"
        f'<Attributes><Attribute Name="1" Id="0" Value={quoteattr(value)}/></Attributes>'
        f"<Vertices>{vertices}</Vertices></Region>"
    )


def traced(mask: NDArray[np.bool_], scale: float) -> list[tuple[float, float]]:
    """One outline along the pixel edges of all parts of a mask and of their holes; `scale` l0 px a mask px.

    From part to part it goes by way of the origin and back, and touches itself there: those ways cancel out.
    """
    ends = _boundary(mask)
    path: list[tuple[int, int]] = []
    while ends:
        start = at = next(iter(ends))
        path += [(0, 0), start]
        while at in ends:
            following = ends[at].pop()
            if not ends[at]:
                del ends[at]
            path.append(at := following)
        assert at == start
    return [(x * scale, y * scale) for x, y in path]


def _boundary(mask: NDArray[np.bool_]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Where the edges between inside and outside lead, with the inside on their right."""
    padded = np.pad(mask, 1)
    ends = defaultdict(list)
    for dy, dx, start, end in (
        (-1, 0, (0, 0), (1, 0)),
        (0, 1, (1, 0), (1, 1)),
        (1, 0, (1, 1), (0, 1)),
        (0, -1, (0, 1), (0, 0)),
    ):
        neighbour = np.roll(padded, (-dy, -dx), axis=(0, 1))
        for y, x in np.argwhere((padded & ~neighbour)[1:-1, 1:-1]).tolist():
            ends[x + start[0], y + start[1]].append((x + end[0], y + end[1]))
    return ends
