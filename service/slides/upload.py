"""Write an upload to disk in bounded memory, hashing it on the way."""

import contextlib
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import SlideTooLargeError
from .archive import innermost, is_archive
from .disk import full_disk_refused, require_space
from .locks import lock
from .unpacking import unpack_apart

STALE_S = 3600.0
"""Seconds without a change after which a folder of uploads that nobody can have locked is left over."""

FRESH_S = 10.0
"""Seconds in which a new folder may not be locked yet."""

LOCK, PART, SLIDE, CONTENT = "lock", "upload", "slide", "content"
"""Names in the folder of an upload: what its process locks, the file as sent, what becomes the folder of the
slide, and in that the slide's own files."""


@dataclass(frozen=True, slots=True)
class Received:
    """A whole file as a client sent it, in a folder made by `upload_folder`, not looked at yet."""

    folder: Path
    name: str
    """The client's name of it, checked."""
    bytes: int
    sha256: str
    """In hexadecimal."""

    def extract(self, file_name: str, max_bytes: int) -> Path:
        """Return the slide's path: `file_name`, or of a zip what is unpacked, at most `max_bytes` bytes.

        Raises:
            ArchiveError: when the zip cannot be unpacked.
            SlideTooLargeError: when the unpacked zip is larger than an upload may be.
            StorageFullError: when it does not fit on the disk.
        """
        content = new_content(self.folder)
        part = self.folder / PART
        if not is_archive(self.name):
            return part.rename(content / file_name)
        unpack_apart(part, content, max_bytes)
        part.unlink()
        return innermost(content)


class Upload:
    """A file that is uploaded in one request: hashed and bounded as it is written."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.name: str | None = None
        """The client's file name, as sent."""
        self.bytes = 0
        """Bytes written so far."""
        self._max_bytes = max_bytes
        self._file = (folder / PART).open("wb")
        self._digest = hashlib.sha256()

    def write(self, chunk: bytes) -> None:
        """Append `chunk`.

        Raises:
            SlideTooLargeError: when the upload grows past its largest size.
            StorageFullError: when the chunk does not fit on the disk.
        """
        self.bytes += len(chunk)
        require_size(self.bytes, self._max_bytes)
        require_space(self.folder, len(chunk))
        self._digest.update(chunk)
        with full_disk_refused():
            self._file.write(chunk)

    def close(self) -> None:
        """Flush the file to the disk and close it. Writing after this is an error."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    @property
    def sha256(self) -> str:
        """Hexadecimal sha256 of what was written so far."""
        return self._digest.hexdigest()

    def received(self, name: str) -> Received:
        """Close the file and return it under its checked name."""
        self.close()
        return Received(self.folder, name, self.bytes, self.sha256)


@contextlib.contextmanager
def upload_folder(incoming: Path) -> Iterator[Path]:
    """Make a locked folder in `incoming` for one upload; remove what is left of it when the context ends."""
    folder = incoming / uuid.uuid4().hex
    folder.mkdir()
    try:
        with (folder / LOCK).open("wb") as held:
            lock(held)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_content(folder: Path) -> Path:
    """Make the folder of the slide's own files in the folder of an upload."""
    content = folder / SLIDE / CONTENT
    content.mkdir(parents=True)
    return content


def require_size(size: int, max_bytes: int) -> None:
    """Check that an upload of `size` bytes is not too large.

    Raises:
        SlideTooLargeError: when it has more than `max_bytes` bytes.
    """
    if size > max_bytes:
        raise SlideTooLargeError(f"Uploads of more than {max_bytes} bytes are not taken here.")


def remove_stale_uploads(incoming: Path) -> None:
    """Remove folders of uploads to which no process still writes, such as what a killed one left.

    Other processes may use `incoming` at the same time. Folders without a lock, as earlier versions made, go
    once nothing has changed in them for STALE_S.
    """
    for folder in incoming.iterdir():
        with contextlib.suppress(FileNotFoundError):  # its request has just ended
            if is_left(folder):
                shutil.rmtree(folder, ignore_errors=True)


def is_left(folder: Path) -> bool:
    """Return whether the process that made the folder of an upload has ended."""
    held = folder / LOCK
    if not held.exists():
        newest = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
        return time.time() - newest > STALE_S
    with held.open("r+b") as file:
        return lock(file) and time.time() - os.fstat(file.fileno()).st_mtime > FRESH_S
