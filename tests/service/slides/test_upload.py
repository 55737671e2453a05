"""Uploads on their way to the disk."""

import errno
import hashlib
import os
import subprocess
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from service.errors import SlideTooLargeError, StorageFullError
from service.slides.disk import DISK_RESERVE, full_disk_refused, require_space
from service.slides.store import SlideStore
from service.slides.upload import STALE_S, Upload, remove_stale_uploads
from wsi.geometry import Rect, Size
from wsi.reading.slide_info import SlideInfo


def never(path: Path) -> SlideInfo:
    """Inspector of a store whose uploads are not committed."""
    raise AssertionError(path)


def test_an_upload_is_hashed_and_kept_under_its_own_name(tmp_path: Path) -> None:
    upload = Upload(tmp_path, max_bytes=100)
    for chunk in (b"first ", b"second"):
        upload.write(chunk)
    path = upload.received("slide.svs").extract("slide.svs", max_bytes=100)
    assert path == tmp_path / "slide" / "content" / "slide.svs"
    assert path.read_bytes() == b"first second"
    assert (upload.bytes, upload.sha256) == (12, hashlib.sha256(b"first second").hexdigest())


def test_an_upload_may_be_as_large_as_the_limit_and_no_larger(tmp_path: Path) -> None:
    upload = Upload(tmp_path, max_bytes=10)
    upload.write(b"x" * 10)
    with pytest.raises(SlideTooLargeError, match="10 bytes"):
        upload.write(b"x")
    upload.close()
    assert (tmp_path / "upload").read_bytes() == b"x" * 10


def test_a_declared_size_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    store = SlideStore(tmp_path, allowed=(), max_bytes=10**18, inspect=never)
    for size, error in ((10**18 + 1, SlideTooLargeError), (10**18, StorageFullError)):
        with pytest.raises(error), store.upload(size):
            pytest.fail("the upload was opened")
    assert list((tmp_path / ".incoming").iterdir()) == []


def test_an_upload_that_is_not_committed_leaves_nothing(tmp_path: Path) -> None:
    store = SlideStore(tmp_path, allowed=(), max_bytes=10, inspect=never)
    with store.upload(None) as upload:
        upload.write(b"x")
        assert upload.folder.is_dir()
    assert list((tmp_path / ".incoming").iterdir()) == []
    assert store.list() == []


def test_uploads_of_a_killed_process_are_removed_at_once_and_those_of_a_living_one_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.slides.upload.FRESH_S", -1)
    code = (
        "import os, sys; from pathlib import Path; from service.slides.upload import upload_folder\n"
        "with upload_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'upload').write_bytes(b'x'); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        remove_stale_uploads(tmp_path)
        assert len(list(tmp_path.rglob("upload"))) == 1
        writer.kill()
        writer.wait()
    assert len(list(tmp_path.rglob("upload"))) == 1, "a killed process tidies nothing up"
    remove_stale_uploads(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_folders_without_a_lock_are_removed_when_they_are_old(tmp_path: Path) -> None:
    old, fresh = tmp_path / "old", tmp_path / "fresh"
    long_ago = time.time() - 2 * STALE_S
    for folder in (old, fresh):
        folder.mkdir()
        (folder / "upload").write_bytes(b"x")
    for path in (old / "upload", old):
        os.utime(path, (long_ago, long_ago))
    remove_stale_uploads(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["fresh"]


@pytest.mark.parametrize(
    ("free", "raises"),
    [(DISK_RESERVE + 5, nullcontext()), (DISK_RESERVE + 4, pytest.raises(StorageFullError))],
)
def test_some_space_is_left_to_running_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, raises: AbstractContextManager[object]
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    with raises:
        require_space(tmp_path, 5)


def test_a_write_for_which_the_disk_has_no_room_is_refused_not_a_fault() -> None:
    with pytest.raises(StorageFullError), full_disk_refused():
        raise OSError(errno.ENOSPC, "no space")
    with pytest.raises(PermissionError), full_disk_refused():
        raise PermissionError


def test_a_setting_keeps_names_off_the_disk_but_not_from_their_users(tmp_path: Path) -> None:
    seen: list[str] = []

    def look(path: Path) -> SlideInfo:
        seen.append(path.name)
        return SlideInfo("generic-tiff", "tiff", Size(1, 1), (1.0,), None, None, Rect(0, 0, 1, 1))

    store = SlideStore(tmp_path, allowed=(), max_bytes=10, inspect=look, keep_names=False)
    with store.upload(None) as upload:
        upload.write(b"x")
        upload.name = "17-4711 Smith.svs"
        slide = store.commit(upload)
    other = store.refer(hashlib.sha256(b"x").hexdigest(), "18-1 Jones.svs")
    assert (slide.name, other.name) == ("17-4711 Smith.svs", "18-1 Jones.svs")
    assert seen == ["slide.svs", "slide.svs"]
    assert {path.name for path in tmp_path.rglob("*.svs")} == {"slide.svs"}
