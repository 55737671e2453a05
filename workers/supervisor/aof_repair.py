"""Mend the append-only file of the embedded queue, or set it aside, if the server does not start from it."""

import logging
import re
import shutil
import subprocess
import time
from pathlib import Path

logger = logging.getLogger(__name__)

FOLDER = "appendonlydir"
"""Folder of the append-only file, in that of the server."""

CHECK_PROGRAM = "valkey-check-aof"
"""Name under which the server's program checks and cuts append-only files."""

_DAMAGED = re.compile(
    "Bad file format reading the append only file|Fatal error loading|Wrong signature|Short read or OOM"
    "|Internal error in RDB|Error reading the RDB|Unexpected end of file reading the append only"
)
"""Last words in the server's log that mean that its file is damaged."""

_SHRINKS = re.compile(r"with (\d+) bytes, to (\d+) bytes")


def is_damaged(log: str) -> bool:
    """Return whether a server ended because its append-only file is damaged, by what it wrote to its log."""
    return _DAMAGED.search(log) is not None


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
