"""Files of classes: what they may say, and which member is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from model.data.class_scheme import HOLE, LEFT_OUT, NO_TRUTH, ClassScheme
from model.data.presets import BACH, CAMELYON16, PRESETS
from model.errors import ClassesError
from wsi.palette import LabelClass, Palette

TWO = [{"name": "stroma"}, {"name": "tumour"}]


def load(folder: Path, data: Any, **members: Any) -> ClassScheme:
    path = folder / "classes.json"
    path.write_text(json.dumps({"classes": data, **members} if members or isinstance(data, list) else data))
    return ClassScheme.load(path)


def test_values_follow_the_file_and_colours_may_be_left_to_it(tmp_path: Path) -> None:
    classes = [
        {"name": "stroma", "colour": "#00a0A0"},
        {"name": "tumour", "colour": [200, 0, 0]},
        {"name": "fat"},
    ]
    scheme = load(tmp_path, classes, background="fat")
    assert scheme.labels[:2] == (LabelClass(1, "stroma", (0, 160, 160)), LabelClass(2, "tumour", (200, 0, 0)))
    assert scheme.background_value == 3
    assert len({entry.colour for entry in Palette(scheme.labels).classes}) == 3
    assert scheme.codes == {1: 1, 2: 2, 3: 3}


def test_words_are_looked_up_whole_first_and_then_with_stars(tmp_path: Path) -> None:
    classes = [
        {"name": "stroma", "aliases": ["*"]},
        {"name": "tumour", "aliases": ["Tumor*", "CA (invasive)?"]},
    ]
    scheme = load(tmp_path, classes, left_out=["Tissue"], holes=["Hole"], no_truth=["Ignore*"])
    meant = {
        "TUMOUR": [2],
        " tumour ": [2],
        "ca  (INVASIVE)?": [2],
        "Tumor: Positive": [1, 2],
        "anything": [1],
        "tissue": [LEFT_OUT],
        "hole": [HOLE],
        "Ignore*": [NO_TRUTH],
    }
    assert {word: scheme.meanings(word) for word in meant} == meant
    assert load(tmp_path, TWO).meanings("tumor") == []


@pytest.mark.parametrize(
    ("data", "members", "told"),
    [
        ({"kinds": TWO}, {}, "lacks classes"),
        ([], {"a": 1}, "unknown key a"),
        ([{"title": "x"}, {"name": "y"}], {}, r"classes\[0\] lacks name"),
        ([{"name": "x"}], {}, "classes has 1 entries"),
        ([{"name": " "}, {"name": "y"}], {}, r"classes\[0\]\.name is empty"),
        ([{"name": "x", "colour": "red"}, {"name": "y"}], {}, "colour of x is red"),
        ([{"name": "x"}, {"name": "y", "colour": [1, 2]}], {}, r"colour of y is \(1, 2\)"),
        ([{"name": "x"}, {"name": "y", "colour": [1, 2, 256]}], {}, "colour of y"),
        ([{"name": "x", "aliases": "z"}, {"name": "y"}], {}, r"classes\[0\]\.aliases"),
        (
            [{"name": "x"}, {"name": "y", "aliases": ["X"]}],
            {},
            r'"x" is a word of classes\.x and of classes\.y',
        ),
        (TWO, {"left_out": ["Tumour"]}, r"classes\.tumour and of left_out"),
        (TWO, {"background": "fat"}, 'background "fat" is none of'),
        (TWO, {"unlabelled": "background"}, "no class is named as background"),
        (TWO, {"unlabelled": "white"}, "unlabelled: Input should be"),
        (TWO, {"order": "size"}, "order: Input should be"),
        ([{"name": "x", "codes": [3]}, {"name": "y"}], {}, "y has no codes"),
        ([{"name": "x", "codes": [3]}, {"name": "y", "codes": [4, 3]}], {}, "number twice"),
        ([{"name": "x", "codes": [256]}, {"name": "y"}], {}, r"classes\[0\]\.codes\[0\]"),
    ],
)
def test_what_is_wrong_is_named(data: Any, members: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ClassesError, match=rf"^classes\.json: .*{told}") as caught:
        load(tmp_path, data, **members)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClassesError, match="cannot read"):
        ClassScheme.load(tmp_path / "none.json")
    (tmp_path / "c.json").write_text("classes: []")
    with pytest.raises(ClassesError, match="is not JSON"):
        ClassScheme.load(tmp_path / "c.json")


def test_any_unicode_encoding_is_read(tmp_path: Path) -> None:
    text = json.dumps({"classes": [{"name": "Übergang"}, {"name": "y"}]}, ensure_ascii=False)
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "c.json").write_text(text, encoding=encoding)
        assert ClassScheme.load(tmp_path / "c.json").labels[0].name == "Übergang"


def test_presets_are_what_the_data_sets_say() -> None:
    assert set(PRESETS) == {"bach", "camelyon16"}
    assert [(c.value, c.name) for c in BACH.labels] == [
        (1, "normal"),
        (2, "benign"),
        (3, "in situ"),
        (4, "invasive"),
    ]
    meant = {
        word: CAMELYON16.meanings(word) for word in ("_0", "_1", "_2", "Tumor", "Exclusion", "metastases")
    }
    assert meant == {"_0": [2], "_1": [2], "_2": [1], "Tumor": [2], "Exclusion": [1], "metastases": [2]}
