"""What a confined process can still do. Each try has a process of its own: nothing undoes a confinement."""

import subprocess
import sys
from pathlib import Path

import pytest

from wsi.confinement import confine, folders_of
from wsi.phantom import write_phantom

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux's")

TRY = """
import os, socket, subprocess, sys, threading
from pathlib import Path
from wsi.confinement import confine
readable, writable, action = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
found = confine(readable=[readable], writable=[writable], programs=action.endswith("allowed"))
assert found.files and found.calls, found.missing
actions = {
    "read": lambda: (readable / "file").read_bytes(),
    "write": lambda: (writable / "new").write_bytes(b"1"),
    "read elsewhere": lambda: (readable.parent / "secret").read_bytes(),
    "list elsewhere": lambda: os.listdir(readable.parent),
    "change what may be read": lambda: (readable / "file").write_bytes(b"2"),
    "move out": lambda: (writable / "old").rename(readable.parent / "out"),
    "reach the network": lambda: socket.create_connection(("127.0.0.1", 9)),
    "open a socket": lambda: socket.socket(socket.AF_UNIX),
    "start a program": lambda: subprocess.run(["true"], check=True),
    "start a program that is allowed": lambda: subprocess.run(["true"], check=True),
    "stop a process": lambda: os.kill(os.getppid(), 0),
    "read another process": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
}
failures = []
def run():
    try:
        actions[action]()
    except PermissionError as error:
        failures.append(error)
run()
thread = threading.Thread(target=run)
thread.start()
thread.join()
assert len(failures) in (0, 2), "threads are confined as well"
print("refused" if failures else "done")
"""


def tried(tmp_path: Path, action: str) -> str:
    readable, writable = tmp_path / "readable", tmp_path / "writable"
    for folder in (readable, writable):
        folder.mkdir()
        (folder / "file").write_bytes(b"1")
    (writable / "old").write_bytes(b"1")
    (tmp_path / "secret").write_bytes(b"1")
    command = [sys.executable, "-c", TRY, str(readable), str(writable), action]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("action", ["read", "write", "start a program that is allowed"])
def test_what_it_was_made_for_goes_on(tmp_path: Path, action: str) -> None:
    assert tried(tmp_path, action) == "done"


@pytest.mark.parametrize(
    "action",
    [
        "read elsewhere",
        "list elsewhere",
        "change what may be read",
        "move out",
        "reach the network",
        "open a socket",
        "start a program",
        "stop a process",
        "read another process",
    ],
)
def test_all_else_is_refused(tmp_path: Path, action: str) -> None:
    assert tried(tmp_path, action) == "refused"


def test_elsewhere_nothing_is_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    found = confine()
    assert not found.files
    assert not found.calls
    assert "Linux" in found.missing[0]


def test_a_slide_of_links_may_be_read_where_they_lead(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "slides").mkdir()
    slide = tmp_path / "slides" / "a.tif"
    write_phantom(tmp_path / "store" / "a.tif", size_px=600, seed=1)
    slide.symlink_to(tmp_path / "store" / "a.tif")
    assert set(folders_of(slide)) == {tmp_path / "slides", tmp_path / "store"}
    assert folders_of(tmp_path / "none" / "b.tif") == []
    inspect = [sys.executable, "-m", "wsi.reading.inspect", str(slide)]
    assert b'"width": 600' in subprocess.run(inspect, capture_output=True, check=True).stdout
