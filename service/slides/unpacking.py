"""Unpack an untrusted archive in a process that may be killed.

`python -m service.slides.unpacking ARCHIVE FOLDER MAX_BYTES` prints one JSON object: empty, or the error.
"""

import json
import subprocess
import sys
from pathlib import Path

from wsi.reading.inspect import child_environment, limit_memory

from ..errors import ArchiveError, ServiceError, SlideTooLargeError, StorageFullError
from .archive import judged, most_unpacked, unpack

MEMORY_BYTES = 2**30
"""Address space of the process; deflate needs less than 1 MB, the directory a few."""

LEAST_S, BYTES_PER_S = 60.0, 10e6
"""It may take so many seconds, and as long again as a slow disk needs for the most it can unpack."""

ERRORS: dict[str, type[ServiceError]] = {
    kind.__name__: kind for kind in (ArchiveError, SlideTooLargeError, StorageFullError)
}


def unpack_apart(archive: Path, folder: Path, max_bytes: int, *, least_s: float = LEAST_S) -> None:
    """Unpack a zip as `unpack` does, in a process of bounded memory and time, unless its directory forbids.

    Raises:
        ArchiveError: when it cannot be unpacked, or not in the time and memory it may take.
        SlideTooLargeError: when it is larger than `max_bytes` unpacked.
        StorageFullError: when it does not fit on the disk.
    """
    with judged(archive, folder, max_bytes):
        pass  # a refusal is worth no process
    timeout_s = least_s + min(max_bytes, most_unpacked(archive)) / BYTES_PER_S
    command = [sys.executable, "-m", "service.slides.unpacking", str(archive), str(folder), str(max_bytes)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=timeout_s,
            env=child_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ArchiveError(f"The zip archive could not be unpacked in {timeout_s:.0f} s.") from error
    if done.returncode != 0:
        raise ArchiveError("The zip archive cannot be unpacked; send a plain zip of one slide.")
    answer = json.loads(done.stdout)
    if answer:
        raise ERRORS[answer["type"]](answer["message"])


def main(arguments: list[str]) -> int:
    """Unpack the archive given, print the answer and return the exit status."""
    archive, folder, max_bytes = Path(arguments[0]), Path(arguments[1]), int(arguments[2])
    limit_memory(MEMORY_BYTES)
    answer = {}
    try:
        unpack(archive, folder, max_bytes)
    except tuple(ERRORS.values()) as error:
        answer = {"type": type(error).__name__, "message": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
