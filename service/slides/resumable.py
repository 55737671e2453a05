"""Keep uploads that can be resumed after anything broke: the size of the file says how far they are.

Layout: `slides/.uploads/<id>/upload.json`, written once and again when the upload has become a slide, and
`part`, the bytes so far. Nothing else is remembered, so nothing can disagree after a kill.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

from pydantic import TypeAdapter, ValidationError

from wsi.atomic import write_atomically
from wsi.errors import SlideLimitError, SlideUnreadableError

from ..errors import (
    ArchiveError,
    SlideTooLargeError,
    UploadBusyError,
    UploadDamagedError,
    UploadNotFoundError,
    UploadOffsetError,
)
from .archive import slide_name
from .disk import full_disk_refused, require_space
from .locks import lock
from .store import SlideStore, StoredSlide
from .upload import require_size

RECORD, PART = "upload.json", "part"

ID_BYTES = 16
"""Random bytes of an id: who does not know it cannot go on with the upload."""

HASH_CHUNK = 1 << 20

WORTHLESS = (SlideUnreadableError, SlideLimitError, ArchiveError, SlideTooLargeError, UploadDamagedError)
"""Errors of a whole upload that more bytes or another try would not mend."""


@dataclass(frozen=True, slots=True)
class ResumableUpload:
    """What is known of an upload besides its bytes."""

    id: str
    name: str
    """The client's file name."""
    length: int
    """Bytes it will have."""
    owner: str
    """Id of the key that began it; empty for this machine's users."""
    sha256: str | None
    """What the client says the whole file has, in hexadecimal."""
    slide_id: str | None = None
    """The slide it has become."""


_RECORD = TypeAdapter(ResumableUpload)


class RunningDigest:
    """The sha256 of a growing file, made of the bytes that pass by; what was missed is read from the file."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._done = 0

    def update(self, offset: int, piece: bytes) -> None:
        """Take in what was appended at `offset`, unless bytes before it were missed."""
        if offset == self._done:
            self._digest.update(piece)
            self._done += len(piece)

    def whole(self, file: Path) -> str:
        """Return the hexadecimal sha256 of the whole file."""
        with file.open("rb") as source:
            source.seek(self._done)
            while piece := source.read(HASH_CHUNK):
                self.update(self._done, piece)
        return self._digest.hexdigest()


class PartWriter:
    """Appends to the bytes of one upload; what it has written is on the disk when its context ends."""

    def __init__(self, file: IO[bytes], folder: Path, length: int, digest: RunningDigest) -> None:
        self._file = file
        self._folder = folder
        self._length = length
        self._digest = digest
        self.offset = os.fstat(file.fileno()).st_size
        """Bytes that the upload has."""

    def write(self, piece: bytes) -> None:
        """Append `piece`.

        Raises:
            SlideTooLargeError: when the upload would have more bytes than it was said to have.
            StorageFullError: when they do not fit on the disk.
        """
        if self.offset + len(piece) > self._length:
            raise SlideTooLargeError(
                f"The upload was said to have {self._length} bytes, and there come more."
            )
        require_space(self._folder, len(piece))
        with full_disk_refused():
            self._file.write(piece)
            self._file.flush()
        self._digest.update(self.offset, piece)
        self.offset += len(piece)


class ResumableUploads:
    """The unfinished uploads of one data folder. Safe to use from several threads and processes.

    Args:
        root: the folder, created when absent, on the disk of the slides.
        slides: takes whole uploads.
        max_bytes: largest upload, in bytes.
        lifetime_s: seconds after the last byte until an upload is removed.
    """

    def __init__(self, root: Path, slides: SlideStore, *, max_bytes: int, lifetime_s: float) -> None:
        self._root = root
        self._slides = slides
        self.max_bytes = max_bytes
        self._lifetime_s = lifetime_s
        self._digests: dict[str, RunningDigest] = {}
        self._root.mkdir(parents=True, exist_ok=True)
        self.sweep()

    def create(self, name: str, length: int, owner: str, sha256: str | None) -> ResumableUpload:
        """Begin an upload.

        Raises:
            SlideNameError: when the file name cannot be used.
            SlideTooLargeError: when it would be larger than an upload may be.
            StorageFullError: when it does not fit on the disk beside what other uploads still lack.
        """
        upload = ResumableUpload(secrets.token_hex(ID_BYTES), slide_name(name), length, owner, sha256)
        require_size(length, self.max_bytes)
        require_space(self._root, length + sum(self.lacking(other) for other in self._all()))
        folder = self._root / upload.id
        folder.mkdir(mode=0o700)
        (folder / PART).touch()
        self._save(upload)
        return upload

    def get(self, upload_id: str, owner: str | None) -> ResumableUpload:
        """Return the upload of this id; `owner` is who asks for it, None for who may see all.

        Raises:
            UploadNotFoundError: when there is none, or it is another's, or too old.
        """
        upload = self._load(upload_id)
        if upload is None or owner not in (None, upload.owner) or time.time() > self.expires_at(upload):
            raise UploadNotFoundError("There is no such upload, or no more: begin a new one.")
        return upload

    def offset(self, upload: ResumableUpload) -> int:
        """Return how many bytes of an upload are here."""
        with contextlib.suppress(FileNotFoundError):
            if upload.slide_id is None:
                return self._part(upload.id).stat().st_size
        return upload.length

    def lacking(self, upload: ResumableUpload) -> int:
        """Return how many bytes of an upload are still to come."""
        return upload.length - self.offset(upload)

    def expires_at(self, upload: ResumableUpload) -> float:
        """Return when an upload is removed unless it is gone on with, in Unix seconds."""
        changed = [0.0]
        for file in (self._part(upload.id), self._part(upload.id).with_name(RECORD)):
            with contextlib.suppress(FileNotFoundError):
                changed.append(file.stat().st_mtime)
        return max(changed) + self._lifetime_s

    @contextlib.contextmanager
    def writer(self, upload: ResumableUpload, offset: int) -> Iterator[PartWriter]:
        """Open an upload to append to it at `offset`.

        Raises:
            UploadNotFoundError: when it is removed meanwhile.
            UploadBusyError: when another process appends to it.
            UploadOffsetError: when it has another number of bytes.
        """
        try:
            file = self._part(upload.id).open("r+b")
        except FileNotFoundError as error:
            raise UploadNotFoundError("There is no such upload any more: begin a new one.") from error
        with file:
            if not lock(file):
                raise UploadBusyError("Another request appends to this upload; try again in a moment.")
            digest = self._digests.setdefault(upload.id, RunningDigest())
            writer = PartWriter(file, self._root, upload.length, digest)
            if writer.offset != offset:
                raise UploadOffsetError(writer.offset)
            file.seek(offset)
            try:
                yield writer
            finally:
                os.fsync(file.fileno())

    def finish(self, upload: ResumableUpload) -> StoredSlide:
        """Make a slide of an upload that has all its bytes; the same slide when it is one already.

        Raises:
            UploadDamagedError: when the bytes do not have the sha256 that was announced.
            SlideNotFoundError: when the slide was made and is removed again.
            SlideUnreadableError: and what else `SlideStore.commit` raises; the upload is removed then.
        """
        if upload.slide_id is not None:
            return self._slides.get(upload.slide_id)
        part = self._part(upload.id)
        sha256 = self._digests.pop(upload.id, RunningDigest()).whole(part)
        try:
            if upload.sha256 not in (None, sha256):
                raise UploadDamagedError(
                    f"The upload has the sha256 {sha256}, and {upload.sha256} was announced. Send it again."
                )
            slide = self._slides.commit_file(part, upload.name, sha256, upload.owner)
        except WORTHLESS:
            self.remove(upload.id)
            raise
        # Kept without its bytes, so that a client whose connection broke hears of the slide.
        self._save(replace(upload, slide_id=slide.id))
        part.unlink(missing_ok=True)
        return slide

    def remove(self, upload_id: str) -> None:
        """Remove an upload."""
        self._digests.pop(upload_id, None)
        shutil.rmtree(self._root / upload_id, ignore_errors=True)

    def sweep(self) -> None:
        """Remove uploads whose time is over, unless a request appends to them."""
        for folder in self._root.iterdir():
            upload = self._load(folder.name)
            if time.time() <= (
                self.expires_at(upload) if upload else folder.stat().st_mtime + self._lifetime_s
            ):
                continue
            with contextlib.suppress(FileNotFoundError), self._part(folder.name).open("r+b") as file:
                if not lock(file):
                    continue
            self.remove(folder.name)

    def _all(self) -> Iterator[ResumableUpload]:
        for folder in self._root.iterdir():
            if upload := self._load(folder.name):
                yield upload

    def _part(self, upload_id: str) -> Path:
        return self._root / upload_id / PART

    def _save(self, upload: ResumableUpload) -> None:
        write_atomically(self._root / upload.id / RECORD, json.dumps(asdict(upload)).encode())

    def _load(self, upload_id: str) -> ResumableUpload | None:
        """Read what is known of an upload; None if there is no such upload, or none that can be read."""
        if len(upload_id) != 2 * ID_BYTES or not upload_id.isalnum() or not upload_id.isascii():
            return None
        try:
            return _RECORD.validate_json((self._root / upload_id / RECORD).read_bytes())
        except (OSError, ValidationError):
            return None
