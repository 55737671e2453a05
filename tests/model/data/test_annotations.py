"""ImageScope XML, with the variants and the damage that files have."""

from pathlib import Path

import numpy as np
import pytest

from model.data.annotations import Annotations
from model.data.annotations import read_annotations as read_with
from model.data.presets import BACH
from model.data.truth import AnnotationTruth
from model.errors import CohortError
from wsi.geometry import Rect, Size

from .image_scope import Outline, Vertices, write_xml, xml_of


def read_annotations(path: Path) -> Annotations:
    return read_with(path, BACH)


def square(left: float, top: float, side: float) -> Vertices:
    return [(left, top), (left + side, top), (left + side, top + side), (left, top + side)]


SQUARE = square(0, 0, 8)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("Carcinoma in situ", 3),
        ("In situ carcinoma", 3),
        ("IN-SITU", 3),
        ("Carcinoma invasive", 4),
        ("invasive", 4),
        (" Benign ", 2),
        ("Normal tissue", 1),
    ],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_the_class_is_in_an_attribute_or_in_the_text(
    words: str, value: int, as_text: bool, tmp_path: Path
) -> None:
    annotations = read_annotations(write_xml(tmp_path / "a.xml", [Outline(words, SQUARE, as_text)]))
    assert [region.value for region in annotations.regions] == [value]
    assert annotations.mpp == 0.467


def test_words_that_name_no_class_give_way_to_those_that_do(tmp_path: Path) -> None:
    text = xml_of([Outline("checked", SQUARE)]).replace('Text=""', 'Text="benign"')
    (tmp_path / "a.xml").write_text(text)
    assert read_annotations(tmp_path / "a.xml").regions[0].value == 2


@pytest.mark.parametrize("words", ["tumour", "", "invasive, partly in situ"])
def test_words_without_a_class_are_told_with_file_and_region(words: str, tmp_path: Path) -> None:
    path = write_xml(tmp_path / "A07.xml", [Outline("benign", SQUARE), Outline(words, SQUARE)])
    with pytest.raises(CohortError, match=r"A07\.xml: region 2 says") as caught:
        read_annotations(path)
    assert words in str(caught.value)


def test_regions_without_area_are_named_and_left_out(tmp_path: Path) -> None:
    path = write_xml(
        tmp_path / "a.xml", [Outline("?", SQUARE[:2]), Outline("benign", SQUARE), Outline("", [])]
    )
    annotations = read_annotations(path)
    assert [region.name for region in annotations.regions] == ["2"]
    assert annotations.skipped == ("1", "3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as XML"),
        ("<Annotations><Annotation></Annotations>", "cannot be read as XML"),
        ("<annotation/>", "starts with <annotation>"),
        (xml_of([Outline("benign", SQUARE)])[:-40], "cannot be read as XML"),
        (
            xml_of([Outline("benign", SQUARE)]).replace('X="8"', 'X="eight"', 1),
            "region 1 has a vertex without",
        ),
        (xml_of([Outline("benign", SQUARE)]).replace(' Y="8"', "", 1), "region 1 has a vertex without"),
        (
            xml_of([Outline("benign", SQUARE)]).replace('X="8"', 'X="nan"', 1),
            "region 1 has a vertex that is on no",
        ),
        (
            xml_of([Outline("benign", SQUARE)]).replace('X="8"', 'X="1e300"', 1),
            "region 1 has a vertex that is on no",
        ),
    ],
)
def test_damage_is_told_with_the_file(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "A01.xml").write_text(text)
    with pytest.raises(CohortError, match=rf"A01\.xml.*{message}"):
        read_annotations(tmp_path / "A01.xml")


def test_entities_and_what_declares_them_are_refused(tmp_path: Path) -> None:
    bomb = "".join(
        f'<!ENTITY {name} "{f"&{of};" * 10}">' for of, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    secret = tmp_path / "secret"
    secret.write_text("benign")
    for declared, used in (
        (f'<!ENTITY a "aaaaaaaa">{bomb}', "&i;"),
        (f'<!ENTITY a SYSTEM "{secret}">', "&a;"),
    ):
        text = xml_of([Outline("benign", SQUARE)]).replace('Text=""', f'Text="{used}"')
        (tmp_path / "a.xml").write_text(f"<!DOCTYPE Annotations [{declared}]>{text}")
        with pytest.raises(CohortError, match="DOCTYPE"):
            read_annotations(tmp_path / "a.xml")


@pytest.mark.parametrize("mpp", ["", "0", "-1", "nan", "inf", "0,467"])
def test_a_senseless_pixel_size_counts_as_none(mpp: str, tmp_path: Path) -> None:
    assert read_annotations(write_xml(tmp_path / "a.xml", [], mpp=mpp)).mpp is None


def test_other_encodings_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(xml_of([Outline("benign", SQUARE)]), encoding="utf-16")
    assert len(read_annotations(tmp_path / "a.xml").regions) == 1


def test_truth_follows_the_file_from_first_to_last(tmp_path: Path) -> None:
    outlines = [
        Outline("invasive", square(4, 4, 24)),
        Outline("benign", square(12, 12, 24)),
        Outline("in situ", square(20, 20, 4)),
        Outline("benign", square(26, 26, 4), hole=True),
        Outline("invasive", square(30, -50, 60)),  # out of bounds on three sides
    ]
    truth = AnnotationTruth(read_annotations(write_xml(tmp_path / "a.xml", outlines)), Size(18, 16), 2, BACH)
    expected = np.ones((16, 18), np.uint8)
    expected[2:14, 2:14] = 4
    expected[6:18, 6:18] = 2
    expected[10:12, 10:12] = 3
    expected[13:15, 13:15] = 1
    expected[:5, 15:] = 4
    np.testing.assert_array_equal(truth.read(Rect(0, 0, 18, 16)), expected)
    around = np.pad(expected, ((3, 4), (2, 5)))
    np.testing.assert_array_equal(truth.read(Rect(-2, -3, 25, 23)), around)
    np.testing.assert_array_equal(truth.read(Rect(5, 9, 6, 4)), expected[9:13, 5:11])
    assert not truth.read(Rect(40, 0, 4, 4)).any()


def test_what_no_region_covers_can_be_left_without_truth(tmp_path: Path) -> None:
    annotations = read_annotations(write_xml(tmp_path / "a.xml", [Outline("normal", square(0, 0, 2))]))
    truth = AnnotationTruth(annotations, Size(4, 2), 1, BACH, unannotated=0)
    assert truth.read(Rect(0, 0, 4, 2)).tolist() == [[1, 1, 0, 0]] * 2
