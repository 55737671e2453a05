"""Uploads on their way to the disk."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from service.errors import SlideNameError, SlideTooLargeError, StorageFullError
from service.slides.store import SlideStore
from service.slides.upload import STALE_S, Upload, remove_stale_uploads
from wsi.reading.slide_info import SlideInfo


def never(path: Path) -> SlideInfo:
    """Inspector of a store whose uploads are not committed."""
    raise AssertionError(path)


def test_an_upload_is_hashed_and_kept_under_its_own_name(tmp_path: Path) -> None:
    upload = Upload(tmp_path, max_bytes=100)
    for chunk in (b"first ", b"second"):
        upload.write(chunk)
    upload.name = "folder/slide.svs"
    path = upload.extract()
    assert path == tmp_path / "content" / "slide.svs"
    assert path.read_bytes() == b"first second"
    assert (upload.bytes, upload.sha256) == (12, hashlib.sha256(b"first second").hexdigest())


def test_an_upload_may_be_as_large_as_the_limit_and_no_larger(tmp_path: Path) -> None:
    upload = Upload(tmp_path, max_bytes=10)
    upload.write(b"x" * 10)
    with pytest.raises(SlideTooLargeError, match="10 bytes"):
        upload.write(b"x")
    upload.close()
    assert (tmp_path / "upload").read_bytes() == b"x" * 10


def test_an_upload_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SlideNameError):
        Upload(tmp_path, max_bytes=10).extract()


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


def test_uploads_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    old, fresh = tmp_path / "old", tmp_path / "fresh"
    long_ago = time.time() - 2 * STALE_S
    for folder in (old, fresh):
        folder.mkdir()
        (folder / "upload").write_bytes(b"x")
    for path in (old / "upload", old):
        os.utime(path, (long_ago, long_ago))
    remove_stale_uploads(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["fresh"]
