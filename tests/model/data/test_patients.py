"""Patients from CSV, and splits that keep them together."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.patients import read_patients
from model.data.splits import Split, own_split
from model.errors import CohortError

NAMES = ["a", "b", "c", "d", "e"]
PATIENTS = {"a": "p1", "b": "p1", "c": "p2", "d": "p3", "e": "p3"}


def write(folder: Path, text: str) -> Path:
    (folder / "patients.csv").write_text(text, encoding="utf-8-sig")
    return folder / "patients.csv"


@pytest.mark.parametrize("parting", [",", ";", "\t"])
def test_columns_and_names_as_people_write_them(parting: str, tmp_path: Path) -> None:
    lines = ["Slide,Patient,note", "a.svs,p1,x", " b , p1,", "c.v2.tif,,", "gone.svs,p9,", "", ",,"]
    table = read_patients(write(tmp_path, "\r\n".join(lines).replace(",", parting)), ["a", "b", "c.v2"])
    assert table.patients == {"a": "p1", "b": "p1", "c.v2": "c.v2"}
    assert table.unknown == ("gone.svs",)
    assert table.split is None


def test_sets_may_be_stated(tmp_path: Path) -> None:
    path = write(tmp_path, "slide,set\na,Train\nb,train\nc,validation\nd,test\ne,test\n")
    assert read_patients(path, NAMES).split == Split(("a", "b"), ("c",), ("d", "e"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "begins with"),
        ("image,patient\na,1\n", 'begins with "image,patient"'),
        ("slide,patient\n", "begins with"),
        ("slide,patient\na,1\na.svs,2\n", "has a twice"),
        ("slide,patient\na,1\n", "has no line for b, c, d, e"),
        ("slide,set\na,train\nb,train\nc,val\nd,test\ne,test\n", "puts c into no set"),
        ("slide,set\na,train\nb,train\nc,train\nd,test\ne,test\n", "train and validation"),
        (
            "slide,patient,set\na,p,train\nb,p,validation\nc,,train\nd,,test\ne,,test\n",
            "patient p in two sets",
        ),
    ],
)
def test_what_is_wrong_is_told(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=told) as caught:
        read_patients(write(tmp_path, text), NAMES)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CohortError, match="CSV in UTF-8"):
        read_patients(tmp_path / "p.csv", NAMES)


@given(st.integers(0, 500), st.sampled_from(["0.2", "0.4", "p2", "d"]), st.sampled_from(["", "0.2"]))
def test_a_patient_is_in_one_set(seed: int, validation: str, test: str) -> None:
    split = own_split(NAMES, validation, test, seed=seed, patients=PATIENTS)
    sets = [{PATIENTS[name] for name in names} for names in (split.train, split.validation, split.test)]
    assert sum(map(len, sets)) == 3
    assert sorted(split.names) == NAMES
    if validation == "d":
        assert split.validation == ("d", "e")


@given(st.integers(0, 500))
def test_the_only_slide_with_a_class_is_trained_on(seed: int) -> None:
    holds = {"a": frozenset({1}), "b": frozenset({1, 2}), "c": frozenset({1}), "d": frozenset({1, 3})}
    split = own_split(list(holds), "0.25", "0.25", seed=seed, holds=holds)
    assert set(split.train) == {"b", "d"}
    assert own_split(list(holds), "0.25", "0.25", seed=seed, holds=holds) == split


def test_a_class_that_cannot_be_trained_on_stops_no_split() -> None:
    holds = {"a": frozenset({1}), "b": frozenset({2}), "c": frozenset({3})}
    split = own_split(list(holds), "0.3", "0.3", seed=1, holds=holds)
    assert len(split.train) == 1
