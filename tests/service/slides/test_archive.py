"""Zip archives: what is unpacked, where to, and what is refused. File names."""

import zipfile
from pathlib import Path

import pytest

from service.errors import ArchiveError, SlideNameError, SlideTooLargeError, StorageFullError
from service.slides.archive import MAX_MEMBERS, NAME_BYTES, innermost, slide_name, unpack
from service.slides.disk import require_space

from ..conftest import Api, assert_problem


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    """Write a deflated zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    return path


@pytest.fixture
def content(tmp_path: Path) -> Path:
    """An empty folder to unpack into."""
    folder = tmp_path / "a" / "b" / "content"
    folder.mkdir(parents=True)
    return folder


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_zip_of_one_slide(api: Api, slide: Path, tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "case.zip", {"folder/good.tif": slide.read_bytes()})
    response = api.http.put("/v1/slides?filename=case.zip", content=archive.read_bytes())
    assert (response.status_code, response.json()["name"], response.json()["width"]) == (
        201,
        "case.zip",
        1024,
    )


def test_broken_zip(api: Api) -> None:
    response = api.http.put("/v1/slides?filename=case.zip", content=b"PK not really")
    assert_problem(response, 422, "archive")


def test_too_large_a_zip_is_refused_before_it_is_unpacked(tmp_path: Path, content: Path) -> None:
    archive = zip_of(tmp_path / "bomb.zip", {"slide.tif": bytes(20_000_000)})
    with pytest.raises(SlideTooLargeError):
        unpack(archive, content, max_bytes=19_999_999)
    assert files_of(content) == []
    unpack(archive, content, max_bytes=20_000_000)
    assert files_of(content) == ["slide.tif"]


def test_zip_bomb_is_a_413(api: Api, tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "bomb.zip", {"slide.tif": bytes(20_000_000)})
    response = api.http.put("/v1/slides?filename=bomb.zip", content=archive.read_bytes())
    assert_problem(response, 413, "slide-too-large")


def test_zip_of_too_many_files(tmp_path: Path, content: Path) -> None:
    archive = zip_of(tmp_path / "many.zip", {str(i): b"" for i in range(MAX_MEMBERS + 1)})
    with pytest.raises(ArchiveError, match="one slide a zip"):
        unpack(archive, content, max_bytes=10**6)
    assert files_of(content) == []


@pytest.mark.parametrize("names", [("a", "a/b"), ("x" * 300,)])
def test_zip_that_cannot_be_laid_out(tmp_path: Path, content: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(ArchiveError, match="plain zip"):
        unpack(zip_of(tmp_path / "odd.zip", dict.fromkeys(names, b"x")), content, max_bytes=10**6)


@pytest.mark.parametrize("name", ["../../../escaped.tif", "/escaped.tif"])
def test_zip_members_cannot_leave_the_folder(tmp_path: Path, content: Path, name: str) -> None:
    archive = zip_of(tmp_path / "slip.zip", {name: b"x"})
    unpack(archive, content, max_bytes=10**6)
    assert files_of(tmp_path) == ["a/b/content/escaped.tif", "slip.zip"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["slide.tif"], "slide.tif"),
        (["case/scans/slide.tif"], "case/scans/slide.tif"),
        (["case/1.dcm", "case/2.dcm"], "case"),
        (["slide.mrxs", "slide/Slidedat.ini"], "."),
        (["slide.tif", "__MACOSX/._slide.tif"], "slide.tif"),
    ],
)
def test_folders_around_the_slide_are_passed_over(content: Path, files: list[str], expected: str) -> None:
    for name in files:
        (content / name).parent.mkdir(parents=True, exist_ok=True)
        (content / name).write_bytes(b"x")
    assert innermost(content) == content / expected


@pytest.mark.parametrize(
    ("sent", "kept"), [("a.svs", "a.svs"), ("../../etc/a.svs", "a.svs"), ("C:\\scans\\a.svs", "a.svs")]
)
def test_only_the_last_component_of_a_name_is_kept(sent: str, kept: str) -> None:
    assert slide_name(sent) == kept


def test_the_longest_name_is_counted_in_bytes() -> None:
    assert slide_name("ö" * (NAME_BYTES // 2)) == "ö" * (NAME_BYTES // 2)
    with pytest.raises(SlideNameError):
        slide_name("ö" * (NAME_BYTES // 2) + "a")


@pytest.mark.parametrize("name", [None, "", "..", "folder/", "a\nb.svs"])
def test_names_that_cannot_be_used(name: str | None) -> None:
    with pytest.raises(SlideNameError):
        slide_name(name)


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    require_space(tmp_path, 0)
    with pytest.raises(StorageFullError):
        require_space(tmp_path, 10**18)
