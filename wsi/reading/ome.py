"""Read the pixel size that OME-XML in a TIFF's description states."""

import xml.etree.ElementTree as ET

from .mpp import Pair

_UM = {"µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6}
"""um in a unit of OME's UnitsLength; both Greek and micro signs are in use."""


def ome_mpp(description: str) -> Pair | None:
    """Return um/px of the first image that OME-XML describes; None where the text says none or is none.

    Source: OME schema 2016-06, Pixels/@PhysicalSizeX, whose unit is um by default. Texts with a document type
    are not read: OME writes none, and only there entities could expand.
    """
    if "<OME" not in description[:4096] or "<!DOCTYPE" in description:
        return None
    try:
        root = ET.fromstring(description)  # noqa: S314 - without a document type nothing expands
    except (ET.ParseError, ValueError):
        return None
    for element in root.iter():
        if element.tag.rpartition("}")[2] == "Pixels":
            x, y = (_side(element, name) for name in ("PhysicalSizeX", "PhysicalSizeY"))
            return None if x is None or y is None else (x, y)
    return None


def _side(pixels: ET.Element, name: str) -> float | None:
    um = _UM.get(pixels.get(f"{name}Unit", "µm"))
    try:
        return None if um is None else um * float(pixels.get(name, ""))
    except ValueError:
        return None
