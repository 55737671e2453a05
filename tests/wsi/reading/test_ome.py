"""Pixel sizes in OME-XML: believed where they are plain, never an error."""

import pytest

from wsi.reading.ome import ome_mpp

HEAD = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'


def ome(pixels: str) -> str:
    return f'{HEAD}<Image ID="Image:0"><Pixels {pixels}/></Image><Image><Pixels/></Image></OME>'


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        ('PhysicalSizeX="0.5" PhysicalSizeY="0.25"', (0.5, 0.25)),
        (
            'PhysicalSizeX="500" PhysicalSizeXUnit="nm" PhysicalSizeY="5e-4" PhysicalSizeYUnit="mm"',
            (0.5, 0.5),
        ),
        ('PhysicalSizeX="0.5"', None),
        ('PhysicalSizeX="half" PhysicalSizeY="0.5"', None),
        ('PhysicalSizeX="1" PhysicalSizeXUnit="pixel" PhysicalSizeY="1"', None),
    ],
)
def test_units_and_what_is_missing(pixels: str, expected: tuple[float, float] | None) -> None:
    assert ome_mpp(ome(pixels)) == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    "description",
    [
        "",
        "Aperio Image Library|MPP = 0.25",
        f"{HEAD}<Image>",
        f"{HEAD}</OME>",
        '<!DOCTYPE OME [<!ENTITY a "0.5">]>' + ome('PhysicalSizeX="&a;" PhysicalSizeY="&a;"'),
    ],
)
def test_what_is_no_such_xml_says_nothing(description: str) -> None:
    assert ome_mpp(description) is None
