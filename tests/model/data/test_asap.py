"""ASAP XML, and the encodings that XML comes in."""

import codecs
from pathlib import Path

import pytest
import shapely

from model.data.annotation_xml import read_xml
from model.errors import CohortError

from .asap import asap_xml, write_asap
from .image_scope import Outline, xml_of
from .qupath import square

SQUARE = square(0, 0, 10)


def test_groups_are_the_words_and_those_above_them(tmp_path: Path) -> None:
    outlines = [("Tumor", SQUARE), ("deep", SQUARE), ("None", SQUARE), ("a", SQUARE)]
    parents = {"deep": "Tumor", "Tumor": "All", "All": "None", "a": "b", "b": "a"}
    shapes = read_xml(write_asap(tmp_path / "a.xml", outlines, parents)).shapes
    assert [shape.words for shape in shapes] == [
        ("Tumor", "All"),
        ("deep", "Tumor", "All"),
        ("Annotation 2",),
        ("a", "b"),
    ]
    assert [shape.classified for shape in shapes] == [True, True, False, True]


def test_vertices_are_taken_in_their_order_and_dots_have_no_area(tmp_path: Path) -> None:
    text = asap_xml([("Tumor", [(0, 0), (9, 9), (9, 0), (0, 9)]), ("Tumor", SQUARE)])
    for old, new in (('Order="1"', 'Order="x1"'), ('Order="3"', 'Order="1"'), ('Order="x1"', 'Order="3"')):
        text = text.replace(old, new, 1)
    text = text.replace('"Annotation 1" Type="Polygon"', '"Annotation 1" Type="PointSet"')
    text = text.replace('Order="2"', 'Order="2.5"', 1).replace('Order="3"', 'Order="2"', 1)
    (tmp_path / "a.xml").write_text(text)
    first, second = read_xml(tmp_path / "a.xml").shapes
    assert shapely.is_valid(first.outline)
    assert shapely.area(first.outline) == 81
    assert second.outline is None


@pytest.mark.parametrize("text", [asap_xml([("Tümor", SQUARE)]), xml_of([Outline("Tümor", SQUARE)])])
def test_encodings_are_what_the_bytes_are_whatever_the_declaration_says(text: str, tmp_path: Path) -> None:
    body = text.replace('<?xml version="1.0"?>\n', "").replace("><", ">\r\n<")
    said = {
        name: f'<?xml version="1.0" encoding="{name}"?>\r\n{body}'
        for name in ("UTF-8", "UTF-16", "windows-1252")
    }
    for data in (
        codecs.BOM_UTF8 + said["UTF-8"].encode(),
        said["UTF-16"].encode("utf-16"),
        said["UTF-8"].encode("utf-16"),
        codecs.BOM_UTF16_BE + said["UTF-16"].encode("utf-16-be"),
        said["UTF-16"].encode(),
        said["windows-1252"].encode("cp1252"),
        body.encode(),
    ):
        (tmp_path / "a.xml").write_bytes(data)
        (shape,) = read_xml(tmp_path / "a.xml").shapes
        assert shape.words[0] == "Tümor"


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"\xff\xfe<", b"\xff\xff\xff", b"<ASAP_Annotations>"])
def test_damage_is_told_in_one_line(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(data)
    with pytest.raises(CohortError, match=r"^a\.xml cannot be read as XML") as caught:
        read_xml(tmp_path / "a.xml")
    assert "\n" not in str(caught.value)


def test_layers_of_image_scope_name_the_class_where_regions_do_not(tmp_path: Path) -> None:
    text = xml_of([Outline("", SQUARE), Outline("own", SQUARE)]).replace('Type="4"', 'Type="4" Name="Tumor"')
    (tmp_path / "a.xml").write_text(text)
    assert [shape.words for shape in read_xml(tmp_path / "a.xml").shapes] == [("Tumor",), ("own", "Tumor")]
