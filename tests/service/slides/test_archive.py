"""Zip archives: what is unpacked, where to, and what is refused. File names."""

import sys
import zipfile
from pathlib import Path

import pytest

from service.errors import ArchiveError, SlideNameError, SlideTooLargeError, StorageFullError
from service.slides.archive import DIRECTORY_BYTES, MAX_MEMBERS, NAME_BYTES, innermost, slide_name, unpack
from service.slides.disk import require_space
from service.slides.unpacking import MEMORY_BYTES, unpack_apart

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


def test_members_that_share_bytes_are_refused(tmp_path: Path, content: Path) -> None:
    archive = zip_of(tmp_path / "shared.zip", {"a.tif": bytes(10**6), "b.tif": b"b"})
    data = bytearray(archive.read_bytes())
    # The directory's second entry is made to say that it begins where the first does.
    second = data.rindex(b"PK\x01\x02")
    data[second + 42 : second + 46] = bytes(4)
    archive.write_bytes(data)
    with pytest.raises(ArchiveError, match="share bytes"):
        unpack(archive, content, max_bytes=10**9)
    assert files_of(content) == []


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_methods_that_eat_memory_are_refused(tmp_path: Path, content: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w", method) as zipped:
        zipped.writestr("slide.tif", b"x")
    with pytest.raises(ArchiveError, match="deflate"):
        unpack(tmp_path / "other.zip", content, max_bytes=10**9)


def test_an_archive_that_blows_up_is_refused(
    tmp_path: Path, content: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zip_of(tmp_path / "bomb.zip", {"slide.tif": bytes(2_000_000)})
    unpack(archive, content, max_bytes=10**9)
    monkeypatch.setattr("service.slides.archive.BLOWN_UP_BYTES", 1_999_999)
    with pytest.raises(ArchiveError, match="far more"):
        unpack(archive, content, max_bytes=10**9)


def test_a_directory_too_long_to_read_is_refused(tmp_path: Path, content: Path) -> None:
    archive = zip_of(tmp_path / "long.zip", {"slide.tif": b"x"})
    data = archive.read_bytes()
    entry, end = data.index(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")
    count = DIRECTORY_BYTES // (end - entry) + 1
    directory, tail = data[entry:end] * count, bytearray(data[end:])
    tail[12:16] = len(directory).to_bytes(4, "little")
    archive.write_bytes(data[:entry] + directory + tail)
    with pytest.raises(ArchiveError, match="directory is too long"):
        unpack_apart(archive, content, max_bytes=10**9)


def test_a_process_of_its_own_unpacks_and_says_what_is_wrong(tmp_path: Path, content: Path) -> None:
    archive = zip_of(tmp_path / "case.zip", {"slide.tif": bytes(10**6)})
    with pytest.raises(SlideTooLargeError, match="999999 bytes"):
        unpack_apart(archive, content, max_bytes=999_999)
    unpack_apart(archive, content, max_bytes=10**6)
    assert files_of(content) == ["slide.tif"]


GREEDY = """
import sys, zipfile
if "service.slides.unpacking" in sys.orig_argv:
    extract = zipfile.ZipFile.extractall
    zipfile.ZipFile.extractall = lambda zipped, folder: (bytearray({size}), extract(zipped, folder))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold to a limit of address space")
@pytest.mark.parametrize(("size", "status"), [(2**20, 201), (MEMORY_BYTES, 422)])
def test_an_archive_that_wants_much_memory_is_refused(
    api: Api, slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, status: int
) -> None:
    # Python imports it first in the process that unpacks.
    (tmp_path / "sitecustomize.py").write_text(GREEDY.format(size=size))
    monkeypatch.syspath_prepend(str(tmp_path))
    archive = zip_of(tmp_path / "greedy.zip", {f"{size}.tif": slide.read_bytes()})
    answer = api.http.put("/v1/slides?filename=greedy.zip", content=archive.read_bytes())
    assert answer.status_code == status, answer.text
    if status == 422:
        assert_problem(answer, 422, "archive")


def test_an_archive_that_takes_too_long_is_killed(tmp_path: Path, content: Path) -> None:
    archive = zip_of(tmp_path / "slow.zip", {"slide.tif": bytes(10**6)})
    with pytest.raises(ArchiveError, match="could not be unpacked in 0 s"):
        unpack_apart(archive, content, max_bytes=10**6, least_s=-0.09)
