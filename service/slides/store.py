"""Slides on disk: uploads streamed in, folders registered in place, each looked at before it is accepted.

Layout: `slides/<id>/slide.json` and `slides/<id>/content/<file or unpacked archive>`. An uploaded slide's id is made of
its sha256, so the same file sent twice is stored once. A registered slide stays where it is.
"""

import contextlib
import hashlib
import json
import logging
import lzma
import os
import re
import shutil
import time
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from wsi.atomic import atomic_file
from wsi.errors import SlideUnreadableError
from wsi.reading.slide_info import SlideInfo

from ..errors import (
    ArchiveError,
    RootNotAllowedError,
    SlideNameError,
    SlideNotFoundError,
    SlideTooLargeError,
    StorageFullError,
)

logger = logging.getLogger(__name__)

DISK_RESERVE = 10**9
"""Bytes left free on the disk whatever is uploaded, so that running jobs can finish."""

STALE_S = 3600.0
"""Seconds without a byte after which an upload found at the start is taken for a killed one."""

SLIDE_ID = re.compile("[0-9a-f]{24}")

CODEC_ERRORS = (zlib.error, lzma.LZMAError)
"""What damaged members raise."""

ARCHIVE_FILES = 10_000
"""Most members an archive may have; a MIRAX or DICOM slide has tens."""


@dataclass(frozen=True, slots=True)
class StoredSlide:
    """A slide this service can run jobs on."""

    id: str
    name: str
    path: str
    bytes: int
    sha256: str | None
    created_at: float
    info: SlideInfo

    def to_json(self) -> dict[str, Any]:
        """As kept in `slide.json`."""
        return {**asdict(self), "info": self.info.to_json()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "StoredSlide":
        """The reverse of `to_json`."""
        return cls(**{**value, "info": SlideInfo.from_json(value["info"])})


class Upload:
    """A file on its way in: hashed and bounded as it is written."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.name: str | None = None
        self._path = folder / "upload"
        self._file = self._path.open("wb")
        self._digest = hashlib.sha256()
        self._max_bytes = max_bytes
        self.bytes = 0

    def write(self, chunk: bytes) -> None:
        """Append `chunk`. Raises SlideTooLargeError, StorageFullError."""
        self.bytes += len(chunk)
        if self.bytes > self._max_bytes:
            raise SlideTooLargeError(f"Uploads of more than {self._max_bytes} bytes are not taken here.")
        require_space(self.folder, len(chunk))
        self._digest.update(chunk)
        self._file.write(chunk)

    def close(self) -> None:
        """Finish the file. Writing after this is an error."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    @property
    def sha256(self) -> str:
        """Hexadecimal sha256 of what was written so far."""
        return self._digest.hexdigest()

    def settle(self) -> Path:
        """Give the content its own name, or unpack it when it is a zip archive; the slide's path."""
        self.close()
        name = slide_name(self.name)
        content = self.folder / "content"
        content.mkdir()
        if name.lower().endswith(".zip"):
            unpack(self._path, content, self._max_bytes)
            self._path.unlink()
            return innermost(content)
        return self._path.rename(content / name)


class SlideStore:
    """The slides of one data folder. Safe to use from several threads and processes."""

    def __init__(
        self, root: Path, *, allowed: tuple[Path, ...], max_bytes: int, inspect: Callable[[Path], SlideInfo]
    ) -> None:
        self._root = root
        self._incoming = root / ".incoming"
        self._allowed = tuple(folder.resolve() for folder in allowed)
        self._max_bytes = max_bytes
        self._inspect = inspect
        self._incoming.mkdir(parents=True, exist_ok=True)
        sweep(self._incoming)

    @contextlib.contextmanager
    def upload(self, expected_bytes: int | None) -> Iterator[Upload]:
        """A new upload; whatever was not committed is gone when the context ends."""
        if expected_bytes is not None:
            if expected_bytes > self._max_bytes:
                raise SlideTooLargeError(f"Uploads of more than {self._max_bytes} bytes are not taken here.")
            require_space(self._incoming, expected_bytes)
        folder = self._incoming / uuid.uuid4().hex
        folder.mkdir()
        upload = Upload(folder, self._max_bytes)
        try:
            yield upload
        finally:
            upload.close()
            shutil.rmtree(folder, ignore_errors=True)

    def commit(self, upload: Upload) -> StoredSlide:
        """Keep a finished upload if it is a slide that can be read.

        Raises SlideNameError, ArchiveError, SlideUnreadableError, SlideLimitError.
        """
        slide_id = upload.sha256[:24]
        name = slide_name(upload.name)
        with_same_bytes = self._load(slide_id)
        if with_same_bytes is not None:
            return with_same_bytes
        content = upload.settle()
        info = self._inspect(content)
        final = self._root / slide_id
        slide = StoredSlide(
            id=slide_id,
            name=name,
            path=str(final / content.relative_to(upload.folder)),
            bytes=upload.bytes,
            sha256=upload.sha256,
            created_at=time.time(),
            info=info,
        )
        return self._keep(slide, upload.folder)

    def register(self, uri: str) -> StoredSlide:
        """Take a slide in place, by path or `file://` URI under an allow-listed folder.

        Raises RootNotAllowedError, SlideUnreadableError, SlideLimitError.
        """
        path = local_path(uri)
        if not any(path.is_relative_to(folder) for folder in self._allowed):
            raise RootNotAllowedError(
                f"{uri} is not under a folder this service may read. Set DAREFINE_SLIDE_ROOTS, or upload the slide."
            )
        info = self._inspect(path)
        try:
            stat = path.stat()
            files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
            size = sum(file.stat().st_size for file in files)
        except FileNotFoundError as error:
            raise SlideUnreadableError(
                f"{path.name} changed while it was looked at. Register it again when nothing writes to it."
            ) from error
        key = f"{path}|{stat.st_size}|{stat.st_mtime_ns}"
        slide_id = hashlib.sha256(key.encode()).hexdigest()[:24]
        known = self._load(slide_id)
        if known is not None:
            return known
        folder = self._incoming / uuid.uuid4().hex
        folder.mkdir()
        slide = StoredSlide(slide_id, path.name, str(path), size, None, time.time(), info)
        return self._keep(slide, folder)

    def _keep(self, slide: StoredSlide, folder: Path) -> StoredSlide:
        """Publish `folder` under the slide's id in one step; another request may have been first."""
        with atomic_file(folder / "slide.json") as temporary:
            temporary.write_text(json.dumps(slide.to_json(), indent=1), encoding="utf-8")
        final = self._root / slide.id
        try:
            folder.rename(final)
        except OSError:
            known = self._load(slide.id)
            if known is not None:
                return known
            # What stands there cannot be read, so nobody can use it: this upload takes its place.
            self._discard(final)
            folder.rename(final)
        return slide

    def get(self, slide_id: str) -> StoredSlide:
        """The slide of this id. Raises SlideNotFoundError."""
        slide = self._load(slide_id)
        if slide is None:
            raise SlideNotFoundError(f"No slide has the id {slide_id!r}.")
        return slide

    def list(self) -> list[StoredSlide]:
        """Every slide, newest first."""
        slides = (self._load(folder.name) for folder in self._root.iterdir())
        return sorted((s for s in slides if s is not None), key=lambda s: (-s.created_at, s.id))

    def delete(self, slide_id: str) -> None:
        """Remove the slide; a registered slide's own files stay. Raises SlideNotFoundError."""
        self.get(slide_id)
        self._discard(self._root / slide_id)

    def _discard(self, folder: Path) -> None:
        """Remove a slide's folder in one step as seen from outside; gone already is as good."""
        doomed = self._incoming / uuid.uuid4().hex
        with contextlib.suppress(FileNotFoundError):
            folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def _load(self, slide_id: str) -> StoredSlide | None:
        if not SLIDE_ID.fullmatch(slide_id):
            return None
        try:
            text = (self._root / slide_id / "slide.json").read_text(encoding="utf-8")
            return StoredSlide.from_json(json.loads(text))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError, KeyError):
            logger.exception("the record of slide %s cannot be read, leaving it out", slide_id)
            return None


def sweep(incoming: Path) -> None:
    """Remove uploads that no process can still be writing: a killed one leaves its folder behind."""
    for folder in incoming.iterdir():
        newest = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
        if time.time() - newest > STALE_S:
            shutil.rmtree(folder, ignore_errors=True)


def local_path(uri: str) -> Path:
    """The path a `file://` URI or plain path names. Raises RootNotAllowedError for anything else."""
    scheme, separator, rest = uri.partition("://")
    if separator and scheme != "file":
        raise RootNotAllowedError(
            f"{scheme}:// is not read here. Send a path or file:// URI, or upload the slide."
        )
    if "\0" in uri:
        raise RootNotAllowedError("A path cannot hold a NUL character.")
    return Path(unquote(rest) if separator else uri).resolve()


def require_space(folder: Path, needed: int) -> None:
    """Raise StorageFullError unless `needed` bytes fit beside the reserve."""
    if needed + DISK_RESERVE > shutil.disk_usage(folder).free:
        raise StorageFullError(
            "The disk of this service is full. Delete slides or jobs that are no longer needed."
        )


def slide_name(name: str | None) -> str:
    """The last component of a client's file name, fit to be one here. Raises SlideNameError."""
    plain = (name or "").replace("\\", "/").rsplit("/", 1)[-1]
    if plain in {"", ".", ".."} or len(plain.encode()) > 200 or not plain.isprintable():
        raise SlideNameError("Send the slide's file name, such as ?filename=slide.svs (at most 200 bytes).")
    return plain


def innermost(folder: Path) -> Path:
    """The folder, or what it holds when that is one thing alone: people zip a folder as often as its files."""
    members = [member for member in folder.iterdir() if member.name != "__MACOSX"]
    if len(members) != 1:
        return folder
    return innermost(members[0]) if members[0].is_dir() else members[0]


def unpack(archive: Path, folder: Path, max_bytes: int) -> None:
    """Unpack a zip of one slide's files. Raises ArchiveError, SlideTooLargeError, StorageFullError."""
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = zipped.infolist()
            if len(members) > ARCHIVE_FILES:
                raise ArchiveError(f"The archive has more than {ARCHIVE_FILES} files; send one slide a zip.")
            unpacked = sum(member.file_size for member in members)
            if unpacked > max_bytes:
                raise SlideTooLargeError(f"Slides of more than {max_bytes} bytes are not taken here.")
            require_space(folder, unpacked)
            # zipfile trusts no member to be larger than it says, nor to lie outside the folder.
            zipped.extractall(folder)
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        ValueError,
        EOFError,
        OSError,
        *CODEC_ERRORS,
    ) as error:
        raise ArchiveError(
            f"The zip archive cannot be unpacked ({error}); send a plain zip of one slide."
        ) from error
