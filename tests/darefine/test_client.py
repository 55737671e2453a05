"""What goes over the wire as one slide, and what is made of the answers."""

import zipfile
from pathlib import Path

import httpx
import pytest

from darefine.cli.client import CHUNK, ServiceRefusedError, as_one_file, checked, read_chunks
from darefine.cli.submit import facts


def names_in(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as zipped:
        assert {info.compress_type for info in zipped.infolist()} == {zipfile.ZIP_STORED}
        return sorted(zipped.namelist())


@pytest.fixture
def mirax(tmp_path: Path) -> Path:
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "Slidedat.ini").write_text("x")
    (tmp_path / "case" / "Data0000.dat").write_text("y")
    (tmp_path / "other.svs").write_text("not part of it")
    slide = tmp_path / "case.mrxs"
    slide.write_text("z")
    return slide


def test_a_file_goes_as_it_is(tmp_path: Path) -> None:
    slide = tmp_path / "slide.svs"
    slide.write_bytes(b"x")
    with as_one_file(slide) as file:
        assert file == slide
    assert slide.read_bytes() == b"x", "only a temporary archive is removed"


def test_a_mirax_slide_takes_its_data_folder_along(mirax: Path) -> None:
    with as_one_file(mirax) as file:
        assert file.name == "case.mrxs.zip"
        assert names_in(file) == ["case.mrxs", "case/Data0000.dat", "case/Slidedat.ini"]
    assert not file.exists()


def test_a_folder_goes_with_all_its_files(mirax: Path) -> None:
    with as_one_file(mirax.parent / "case") as file:
        assert names_in(file) == ["Data0000.dat", "Slidedat.ini"]


def test_a_file_is_read_in_chunks_and_each_is_told(tmp_path: Path) -> None:
    content = bytes(range(256)) * (CHUNK // 256) + b"end"
    (tmp_path / "slide.svs").write_bytes(content)
    told: list[int] = []
    assert b"".join(read_chunks(tmp_path / "slide.svs", told.append)) == content
    assert told == [CHUNK, CHUNK + 3]


def test_a_refusal_is_told_with_the_detail_of_its_problem_document() -> None:
    assert checked(httpx.Response(202, json={"id": "a"})) == {"id": "a"}
    with pytest.raises(ServiceRefusedError, match=r"^422 Unprocessable .*: send mpp$"):
        checked(httpx.Response(422, json={"detail": "send mpp"}))
    with pytest.raises(ServiceRefusedError, match=r"^502 Bad Gateway: <html>$"):
        checked(httpx.Response(502, text="<html>"))


def test_facts_are_what_is_known_of_a_job() -> None:
    known = {"patches_done": 3, "patches_total": 9, "megapixels_per_second": 2.04, "eta_s": 70.6}
    assert facts(known) == "3/9 patches  2.0 MP/s  ETA 1:11"
    assert facts({**known, "patches_total": None, "eta_s": None}) == "2.0 MP/s"
    assert facts(dict.fromkeys(known)) == ""
