"""Which file belongs to which slide."""

from pathlib import Path

import pytest

from model.data.annotated_folder import find_annotated
from model.errors import CohortError


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_annotations_are_called_as_their_slide(tmp_path: Path) -> None:
    pairs = {
        "a.svs": "a.geojson",
        "b.ndpi": "b.ndpi.geojson",
        "c.tif": "c.geojson.gz",
        "d.v2.mrxs": "d.v2.json",
        "e.scn": "e.XML",
        "f.tif": "f-labels.png",
        "g.svs": "g_mask.tif",
        "h.svs": "h.svs.json",
    }
    touch(
        tmp_path, *pairs, *pairs.values(), "a.jpg", "f.png", "notes.txt", ".a.xml", "lonely.json", "bare.tif"
    )
    (tmp_path / "d.v2").mkdir()  # the other files of a MIRAX slide
    (tmp_path / "dicom").mkdir()
    touch(tmp_path, "dicom.geojson", "classes.json")
    found = find_annotated([tmp_path])
    paired = {one.slide.name: one.annotations.name for one in found.slides.values() if one.annotations}
    assert paired == {**pairs, "dicom": "dicom.geojson"}
    assert found.bare == ("bare.tif",)
    kept = find_annotated([tmp_path], keep_bare=True)
    assert kept.slides["bare"].annotations is None
    assert kept.bare == ()


def test_annotations_may_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    normal, tumour = touch(tmp_path / "n", "n1.tif"), touch(tmp_path / "t", "t1.tif", "t2.tif", "t2-mask.tif")
    notes = touch(tmp_path / "x", "t1.xml", "t2.tif")
    found = find_annotated([normal, tumour], notes, keep_bare=True)
    assert {name: one.annotations and one.annotations.name for name, one in found.slides.items()} == {
        "n1": None,
        "t1": "t1.xml",
        "t2": "t2.tif",
        "t2-mask": None,
    }


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("a.svs",), "has no annotations of these slides"),
        (("tumor_1.svs", "tumour_1.geojson"), r"tumour_1\.geojson \(does it belong to tumor_1\.svs\?\)"),
        (("A.svs", "a.xml"), r"a\.xml \(does it belong to A\.svs\?\)"),
        (("x.svs", "x.xml", "quite_another.xml"), r"there is no slide for quite_another\.xml\."),
        (("a.svs", "a.ndpi", "a.xml"), r"a is the name of a\.ndpi, a\.svs"),
        (("a.svs", "a.geojson", "a.xml"), r"a is the name of a\.geojson, a\.xml"),
        (("a.svs", "a.geojson", "a.svs.geojson"), r"a is the name of"),
    ],
)
def test_mistakes_in_names_are_told(names: tuple[str, ...], told: str, tmp_path: Path) -> None:
    touch(tmp_path, *names)
    with pytest.raises(CohortError, match=told):
        find_annotated([tmp_path])


def test_what_is_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="is no folder"):
        find_annotated([tmp_path / "nowhere"])


def test_the_file_of_classes_is_no_annotation(tmp_path: Path) -> None:
    touch(tmp_path, "a.svs", "a.json", "b.svs", "b.geojson")
    found = find_annotated([tmp_path], ignore=tmp_path / "a.json")
    assert list(found.slides) == ["b"]
