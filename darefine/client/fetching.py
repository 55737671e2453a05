"""Download result files: whole or not at all, resumed where a connection broke, checked by their sha256."""

from pathlib import Path

from .answers import FileFacts
from .connection import Connection
from .errors import DownloadDamagedError
from .sending import Sent, sha256_of

TRIES = 2
"""A file that was gone on with and came out wrong is fetched once more from its beginning."""


def fetch(connection: Connection, path: str, target: Path, facts: FileFacts, told: Sent) -> None:
    """Download `path` to `target` if that does not hold the file yet; `told` hears bytes done and in all.

    What came before a connection broke, or the process was killed, is kept in `target`.part and gone on with.

    Raises:
        ServiceUnreachableError: when the service stays away.
        ServiceRefusedError: when it has no such file.
        DownloadDamagedError: when the bytes are not those of the result.
        OSError: when `target` cannot be written.
    """
    if is_whole(target, facts):
        return
    part = target.with_name(target.name + ".part")
    for _ in range(TRIES):
        connection.patiently(lambda: append(connection, path, part, facts.bytes, told))
        if is_whole(part, facts):
            part.replace(target)
            return
        part.unlink()
    raise DownloadDamagedError(
        f"{target.name} was downloaded {TRIES} times and is not the file of the result (sha256 "
        f"{facts.sha256[:12]}...). The file on the service is damaged: run the job again."
    )


def is_whole(file: Path, facts: FileFacts) -> bool:
    """Return whether a file is there and has this size and sha256."""
    return file.is_file() and file.stat().st_size == facts.bytes and sha256_of(file) == facts.sha256


def append(connection: Connection, path: str, part: Path, total: int, told: Sent) -> None:
    """Fetch what `part` lacks of `total` bytes."""
    have = part.stat().st_size if part.exists() else 0
    if have == total:
        return
    headers = {"Accept-Encoding": "identity"}
    if 0 < have < total:
        headers["Range"] = f"bytes={have}-"
    with connection.stream("GET", path, headers=headers) as response:
        resumed = response.status_code == 206
        with part.open("ab" if resumed else "wb") as file:
            for chunk in response.iter_raw():  # as it comes: what is gathered is lost with the connection
                file.write(chunk)
                told(file.tell(), total)
