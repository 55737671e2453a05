"""What the system is asked to hold in memory before a slide is read."""

import os
from pathlib import Path

import pytest

from wsi.reading.near import bring_near

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system has no such call")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Length by file name."""
    found: dict[str, int] = {}

    def advise(descriptor: int, _start: int, length: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_WILLNEED
        found[Path(f"/proc/self/fd/{descriptor}").resolve().name] = length

    monkeypatch.setattr(os, "posix_fadvise", advise)
    return found


def write(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return path


def test_a_file_is_asked_for_alone(asked: dict[str, int], tmp_path: Path) -> None:
    slide = write(tmp_path / "a.svs", 5000)
    write(tmp_path / "b.svs", 5000)
    assert bring_near(slide) == 5000
    assert asked == {"a.svs": 5000}


def test_all_files_of_a_slide_are_asked_for(asked: dict[str, int], tmp_path: Path) -> None:
    write(tmp_path / "dicom" / "1.dcm", 10)
    write(tmp_path / "dicom" / "2.dcm", 20)
    assert bring_near(tmp_path / "dicom") == 30
    mirax = write(tmp_path / "c.mrxs", 1)
    write(tmp_path / "c" / "Data0000.dat", 40)
    assert bring_near(mirax) == 41
    assert asked == {"1.dcm": 10, "2.dcm": 20, "c.mrxs": 1, "Data0000.dat": 40}


def test_no_more_than_there_is_room_for(asked: dict[str, int], tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "dicom" / f"{number}.dcm", 100)
    assert bring_near(tmp_path / "dicom", most_bytes=150) == 150
    assert asked == {"0.dcm": 100, "1.dcm": 50}
