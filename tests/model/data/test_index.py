"""The index on disk."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data.bach import BACH_CLASSES
from model.data.index import PlannedSlice, SlideIndex
from model.data.slices import PAPER_INPUT
from model.data.splits import Cohort, SlideWithTruth
from model.errors import CohortError
from wsi.geometry import Rect


def pair(folder: Path, name: str) -> SlideWithTruth:
    files = SlideWithTruth(folder / f"{name}.svs", folder / "index" / "truth" / f"{name}-truth.tif")
    files.truth.parent.mkdir(parents=True, exist_ok=True)
    files.slide.write_text(f"slide {name}")
    files.truth.write_text(f"truth {name}")
    return files


def planned(slide: int = 0) -> PlannedSlice:
    return PlannedSlice(
        slide, Rect(0, 2560, 2560, 2560), Rect(256, 2816, 512, 512), (0.0, 0.5, 0.25, 0.25, 0.0)
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.fixture
def index(folder: Path) -> SlideIndex:
    a, b, c, d = (pair(folder, name) for name in "abcd")
    slices = (planned(), planned(1))
    return SlideIndex(BACH_CLASSES, PAPER_INPUT, Cohort((a, b), (c,), (d,)), slices, (planned(),), (), "bach")


@pytest.fixture
def path(folder: Path, index: SlideIndex) -> Path:
    index.save(folder / "index" / "index.json")
    return folder / "index" / "index.json"


def test_what_was_saved_is_loaded(index: SlideIndex, path: Path) -> None:
    assert SlideIndex.load(path) == index
    assert [file.name for file in path.parent.iterdir() if file.is_file()] == ["index.json"]


shares = st.lists(st.floats(0, 1), min_size=5, max_size=5).map(tuple)
rects = st.tuples(*[st.integers(-5000, 10**6)] * 2, *[st.integers(1, 5000)] * 2).map(lambda r: Rect(*r))


@settings(max_examples=25)
@given(
    slices=st.lists(st.builds(PlannedSlice, st.integers(0, 1), rects, rects, shares), max_size=4).map(tuple)
)
def test_any_plan_survives(
    slices: tuple[PlannedSlice, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("plan")
    cohort = Cohort((pair(folder, "a"), pair(folder, "b")), (pair(folder, "c"),))
    index = SlideIndex(BACH_CLASSES, PAPER_INPUT, cohort, slices, (), (), "bach")
    index.save(folder / "index.json")
    assert SlideIndex.load(folder / "index.json") == index


def test_slides_and_index_may_move_together(folder: Path, path: Path) -> None:
    moved = folder.with_name("elsewhere")
    shutil.move(folder, moved)
    index = SlideIndex.load(moved / "index" / path.name)
    assert index.cohort.train[0].slide == moved / "a.svs"


def test_slides_far_away_are_found_when_the_index_moves(
    folder: Path, index: SlideIndex, tmp_path: Path
) -> None:
    (tmp_path / "other" / "index").mkdir(parents=True)
    index.save(tmp_path / "other" / "index" / "index.json")
    shutil.move(tmp_path / "other", tmp_path / "moved")
    assert SlideIndex.load(tmp_path / "moved" / "index" / "index.json") == index


def test_a_missing_file_is_named(folder: Path, path: Path) -> None:
    (folder / "b.svs").unlink()
    with pytest.raises(CohortError, match=r"b\.svs, named by index\.json, is not there"):
        SlideIndex.load(path)


@pytest.mark.parametrize("name", ["a.svs", "index/truth/d-truth.tif"])
def test_a_changed_file_is_named(name: str, folder: Path, path: Path) -> None:
    (folder / name).write_text("something else")
    with pytest.raises(CohortError, match=rf"{Path(name).name} has changed"):
        SlideIndex.load(path)


def test_an_index_that_is_none_is_refused_with_what_to_do(path: Path) -> None:
    whole = json.loads(path.read_text())
    for text in ("", "[]", json.dumps(whole | {"format": 0}), json.dumps(whole | {"train": {"slides": []}})):
        path.write_text(text)
        with pytest.raises(CohortError, match="darefine prepare"):
            SlideIndex.load(path)
    path.unlink()
    with pytest.raises(CohortError, match="cannot read the index"):
        SlideIndex.load(path)


def test_slices_must_fit_slides_and_classes(index: SlideIndex) -> None:
    with pytest.raises(CohortError, match="validation set does not fit 1 slides"):
        replace(index, validation=(planned(1),))
    with pytest.raises(CohortError, match="4 classes"):
        replace(index, train=(replace(planned(), shares=(0.5, 0.5)),))


def test_a_cohort_keeps_its_sets_apart(index: SlideIndex) -> None:
    cohort = index.cohort
    for train, validation, test in (
        (cohort.train, cohort.train[:1], ()),
        (cohort.train, cohort.validation, cohort.train[:1]),
        (cohort.train, cohort.validation, cohort.validation),
    ):
        with pytest.raises(CohortError, match=r"[ac]\.svs: both"):
            Cohort(train, validation, test)
    assert cohort.to_json() == {"train": ["a.svs", "b.svs"], "validation": ["c.svs"], "test": ["d.svs"]}
    assert "test" not in Cohort(cohort.train, cohort.validation).to_json()
