"""Mend the append-only file of the embedded queue, or set it aside, if the server does not start from it."""

import logging
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

logger = logging.getLogger(__name__)

FOLDER = "appendonlydir"
"""Folder of the append-only file, in that of the server."""

CHECK_PROGRAM = "valkey-check-aof"
"""Name under which the server's program checks and cuts append-only files."""

_BEGINS, _IS_LOADED = "Server initialized", "Ready to accept connections"
"""Words in the server's log before and after it has read its file."""

_OF_THE_HOST = re.compile(
    "No space left|Disk quota|Permission denied|Read-only file system|Too many open files|Out Of Memory"
)
"""Words for what ends a server whose file is sound."""

_CRASHES = {
    -number for number in (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV)
}
"""Exit codes of a server that has crashed; others below zero mean that somebody has ended it."""

_SHRINKS = re.compile(r"with (\d+) bytes, to (\d+) bytes")


def is_damaged(directory: Path, log: str, code: int) -> bool:
    """Return whether a server ended because its append-only file is damaged.

    By where it ended, for it has many words for damage: as it read the file, and not for a fault of the host.
    `log` is what it wrote, `code` its exit code.
    """
    _, began, read = log.partition(_BEGINS)
    by_itself = code > 0 or code in _CRASHES
    is_reading = bool(began) and _IS_LOADED not in read
    return by_itself and is_reading and not _OF_THE_HOST.search(read) and (directory / FOLDER).is_dir()


def cut_damage(directory: Path, program: Path) -> bool:
    """Cut the newest part of the append-only file off where it is damaged; keep a copy of all parts.

    Returns whether anything was cut: then the server can start, without what was written after the damage.
    """
    parts = sorted((directory / FOLDER).glob("*.incr.aof"), key=_number)
    if not parts:
        return False
    kept = _aside(directory)
    shutil.copytree(directory / FOLDER, kept)
    mended = subprocess.run(
        [CHECK_PROGRAM, "--fix", str(parts[-1])],
        executable=program,
        input="y\n",
        capture_output=True,
        text=True,
        check=False,
    )
    cut = _SHRINKS.search(mended.stdout)
    if mended.returncode or cut is None:
        shutil.rmtree(kept)
        return False
    logger.error(
        "the embedded queue's file was damaged: the last %s of %d bytes are lost; what it was is in %s",
        cut[1],
        int(cut[1]) + int(cut[2]),
        kept,
    )
    return True


def set_aside(directory: Path) -> None:
    """Rename the append-only file, so that the server starts with nothing."""
    kept = _aside(directory)
    (directory / FOLDER).rename(kept)
    logger.error("the embedded queue's file cannot be read; it is in %s, and the queue begins anew", kept)


def _aside(directory: Path) -> Path:
    return directory / f"{FOLDER}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"


def _number(part: Path) -> int:
    """Return the number of a part: appendonly.aof.<number>.incr.aof."""
    digits = part.name.split(".")[-3]
    return int(digits) if digits.isdecimal() else -1
