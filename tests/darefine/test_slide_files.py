"""Which files and folders of a command line are slides, and what their results are called."""

from pathlib import Path

import pytest

from darefine.slide_files import SameNameError, find_slides, result_names
from wsi.slide_folders import FoundSlide


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "slides"
    for name in (
        "b.svs",
        "a.NDPI",
        "notes.txt",
        ".hidden.svs",
        "mirax.mrxs",
        "mirax/Data0000.dat",
        "mirax/thumb.tif",
        "scan/1.2.dcm",
        "scan/2.2.dcm",
        "more/c.tiff",
        "more/deep/d.scn",
        "out/a.m.overlay.tif",
        "out/x.tif",
        "elsewhere/b.m.labels.tif",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def names(paths: list[Path], *, recursive: bool, out: Path) -> list[str]:
    found = find_slides(paths, recursive=recursive, leave_out=out)
    return [f"{slide.group}:{slide.path.name}" for slide in found]


def test_a_folder_stands_for_the_slides_in_it(folder: Path) -> None:
    assert names([folder], recursive=False, out=folder / "out") == [
        ".:a.NDPI", ".:b.svs", ".:mirax.mrxs", ".:scan",
    ]  # fmt: skip


def test_recursive_goes_down_but_into_no_slide_and_no_results(folder: Path) -> None:
    assert names([folder], recursive=True, out=folder / "out") == [
        ".:a.NDPI", ".:b.svs", ".:mirax.mrxs", ".:scan", "more:c.tiff", "more/deep:d.scn",
    ]  # fmt: skip


def test_a_file_that_is_named_is_taken_as_it_is_and_once(folder: Path) -> None:
    paths = [folder / "notes.txt", folder / "b.svs", folder / "b.svs", folder / "scan", folder]
    assert names(paths, recursive=False, out=folder / "out") == [
        ".:notes.txt", ".:b.svs", ".:scan", ".:a.NDPI", ".:mirax.mrxs",
    ]  # fmt: skip


def test_results_are_called_after_slide_and_model() -> None:
    below = FoundSlide(Path("more/a.svs"), Path("more"))
    slides = [FoundSlide(Path("a.svs")), below, FoundSlide(Path("1.2"))]
    assert result_names(slides, "m") == (Path("a.m"), Path("more/a.m"), Path("1.2.m"))


def test_slides_of_one_name_are_told_apart_by_their_suffix() -> None:
    slides = [FoundSlide(Path("x/a.svs")), FoundSlide(Path("x/a.ndpi")), FoundSlide(Path("x/b.svs"))]
    assert result_names(slides, "m") == (Path("a.svs.m"), Path("a.ndpi.m"), Path("b.m"))


def test_slides_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(SameNameError, match=r"x/a\.svs, y/a\.svs .* another --out"):
        result_names([FoundSlide(Path("x/a.svs")), FoundSlide(Path("y/a.svs"))], "m")
