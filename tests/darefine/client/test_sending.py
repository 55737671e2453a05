"""What goes over the wire as one slide."""

import os
import zipfile
from pathlib import Path

import pytest

from darefine.client.sending import CHUNK, as_one_file, read_chunks, sha256_of


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


def test_a_copy_of_a_folder_makes_the_same_bytes(mirax: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for file in (mirax.parent / "case").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
        os.utime(copy / file.name, (1e9, 1e9))
    with as_one_file(mirax.parent / "case") as one, as_one_file(copy) as other:
        assert sha256_of(one) == sha256_of(other)
    (copy / "Data0000.dat").write_text("Y")
    with as_one_file(mirax.parent / "case") as one, as_one_file(copy) as other:
        assert sha256_of(one) != sha256_of(other)
