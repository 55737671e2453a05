"""Write an upload to disk in bounded memory, hashing it on the way."""

import hashlib
import os
import shutil
import time
from pathlib import Path

from ..errors import SlideTooLargeError
from .archive import innermost, is_archive, slide_name, unpack
from .disk import require_space

STALE_S = 3600.0
"""Seconds without a byte after which an upload found at the start is taken for a killed one."""


class Upload:
    """A file being uploaded into a folder of its own: hashed and bounded as it is written."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.name: str | None = None
        """The client's file name, as sent."""
        self.bytes = 0
        """Bytes written so far."""
        self._max_bytes = max_bytes
        self._path = folder / "upload"
        self._file = self._path.open("wb")
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

    def extract(self) -> Path:
        """Close the file and return the slide's path: unpacked if it is a zip, else under its own name.

        Raises:
            SlideNameError: when the client's file name cannot be used.
            ArchiveError: when the zip cannot be unpacked.
            SlideTooLargeError: when the unpacked zip is larger than an upload may be.
            StorageFullError: when it does not fit on the disk.
        """
        self.close()
        name = slide_name(self.name)
        content = self.folder / "content"
        content.mkdir()
        if not is_archive(name):
            return self._path.rename(content / name)
        unpack(self._path, content, self._max_bytes)
        self._path.unlink()
        return innermost(content)


def require_size(size: int, max_bytes: int) -> None:
    """Check that an upload of `size` bytes is not too large.

    Raises:
        SlideTooLargeError: when it has more than `max_bytes` bytes.
    """
    if size > max_bytes:
        raise SlideTooLargeError(f"Uploads of more than {max_bytes} bytes are not taken here.")


def remove_stale_uploads(incoming: Path) -> None:
    """Remove uploads that no process can still be writing: a killed one leaves its folder behind."""
    for folder in incoming.iterdir():
        newest = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
        if time.time() - newest > STALE_S:
            shutil.rmtree(folder, ignore_errors=True)
