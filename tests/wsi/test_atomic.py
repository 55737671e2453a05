"""Atomic writes: a file is old or new, never half, and nothing is left beside it."""

import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wsi.atomic import atomic_file, flush_tree, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_file_is_made_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "card.json"

    write_atomically(path, b"first, and longer")
    assert path.read_bytes() == b"first, and longer"
    write_atomically(path, b"second")

    assert path.read_bytes() == b"second"
    assert names(tmp_path) == ["card.json"]


def test_an_exception_leaves_the_old_file_whole_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_bytes(b"old")

    def fail_half_way() -> None:
        with atomic_file(path) as temporary:
            temporary.write_bytes(b"ne")
            assert path.read_bytes() == b"old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()

    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["card.json"]


def test_a_body_that_writes_nothing_is_an_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_bytes(b"old")

    with pytest.raises(FileNotFoundError), atomic_file(path):
        pass

    assert path.read_bytes() == b"old"


def test_a_rename_that_fails_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "card.json").mkdir()

    with pytest.raises(OSError, match=r"card\.json"):
        write_atomically(tmp_path / "card.json", b"new")

    assert names(tmp_path) == ["card.json"]


def test_a_folder_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "job" / "card.json", b"new")

    assert names(tmp_path) == []


def test_a_process_that_dies_while_writing_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_bytes(b"old")
    program = (
        "import os, pathlib, sys\n"
        "from wsi.atomic import atomic_file\n"
        "with atomic_file(pathlib.Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_bytes(b'ne')\n"
        "    os._exit(9)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}

    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False, env=environment)

    assert done.returncode == 9
    assert path.read_bytes() == b"old"


def test_two_writers_do_not_share_a_temporary_file_and_the_last_rename_wins(tmp_path: Path) -> None:
    path = tmp_path / "card.json"

    with atomic_file(path) as first:
        first.write_bytes(b"from the first")
        with atomic_file(path) as second:
            second.write_bytes(b"from the second")
            assert first != second
        assert path.read_bytes() == b"from the second"

    assert path.read_bytes() == b"from the first"
    assert names(tmp_path) == ["card.json"]


def test_a_reader_sees_whole_files_only_while_several_write(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    contents = [bytes([letter]) * 200_000 for letter in b"abcd"]
    write_atomically(path, contents[0])
    written = threading.Event()
    seen: set[bytes] = set()

    def write(content: bytes) -> None:
        for _ in range(15):
            write_atomically(path, content)

    def read() -> None:
        while not written.is_set():
            seen.add(path.read_bytes())
        seen.add(path.read_bytes())

    with ThreadPoolExecutor(5) as pool:
        reader = pool.submit(read)
        writers = [pool.submit(write, content) for content in contents]
        try:
            for writer in writers:
                writer.result()
        finally:
            written.set()
        reader.result()

    assert seen <= set(contents)
    assert path.read_bytes() in contents
    assert names(tmp_path) == ["card.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows opens no folders")
def test_the_file_is_flushed_before_the_rename_and_the_folder_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "card.json"
    path.write_bytes(b"old")
    flushed: list[tuple[str, bytes]] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        status = os.fstat(descriptor)
        what = "folder" if stat.S_ISDIR(status.st_mode) else "file"
        if what == "folder":
            assert os.path.samestat(status, tmp_path.stat())
        flushed.append((what, path.read_bytes()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    write_atomically(path, b"new")

    assert flushed == [("file", b"old"), ("folder", b"new")]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows opens no folders")
def test_a_tree_is_flushed_from_its_files_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner").mkdir()
    files = [tmp_path / "a", tmp_path / "inner" / "b"]
    for path in files:
        path.write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))

    flush_tree(tmp_path)

    wanted = [files[1], files[1].parent, files[0], tmp_path]
    assert flushed == [path.stat().st_ino for path in wanted]
