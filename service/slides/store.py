"""Store slides on disk: uploads, and files registered in place, each inspected before it is accepted.

Layout: `slides/<id>/slide.json` and `slides/<id>/content/<file or unpacked archive>`. An uploaded slide's id
is made of its sha256, so the same file sent twice is stored once. A registered slide stays where it is.
"""

import contextlib
import hashlib
import json
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wsi.atomic import atomic_file
from wsi.errors import SlideUnreadableError
from wsi.reading.slide_info import SlideInfo
from wsi.stored_slides import RECORD, SLIDE_ID, path_in_record, path_of

from ..errors import RootNotAllowedError, SlideNotFoundError
from .archive import slide_name
from .disk import require_space
from .roots import is_under, local_path, require_inside
from .upload import Upload, remove_stale_uploads, require_size

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredSlide:
    """A slide this service can run jobs on."""

    id: str
    name: str
    path: str
    bytes: int
    """Of the upload as sent, or of all files of a slide registered in place."""
    sha256: str | None
    """Of the upload as sent, in hexadecimal; None for a slide registered in place."""
    created_at: float
    """Unix seconds."""
    info: SlideInfo

    def to_json(self) -> dict[str, Any]:
        """Return the slide as kept in `slide.json`."""
        return {**asdict(self), "info": self.info.to_json()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "StoredSlide":
        """Read what `to_json` returns."""
        return cls(**{**value, "info": SlideInfo.from_json(value["info"])})


class SlideStore:
    """The slides of one data folder. Safe to use from several threads and processes.

    Args:
        root: the folder, created when absent.
        allowed: folders whose slides may be registered in place.
        max_bytes: largest upload, and largest unpacked archive, in bytes.
        inspect: opens the slide at a path and returns its facts, or raises when it cannot be read.
    """

    def __init__(
        self, root: Path, *, allowed: tuple[Path, ...], max_bytes: int, inspect: Callable[[Path], SlideInfo]
    ) -> None:
        self._root = root
        self._incoming = root / ".incoming"
        self._allowed = tuple(folder.resolve() for folder in allowed)
        self._max_bytes = max_bytes
        self._inspect = inspect
        self._incoming.mkdir(parents=True, exist_ok=True)
        remove_stale_uploads(self._incoming)

    @contextlib.contextmanager
    def upload(self, expected_bytes: int | None) -> Iterator[Upload]:
        """Open a new upload; remove what was not committed when the context ends.

        Args:
            expected_bytes: the size the client declared: too large a file is refused before it is sent.

        Raises:
            SlideTooLargeError: when that is more than an upload may have.
            StorageFullError: when it does not fit on the disk.
        """
        if expected_bytes is not None:
            require_size(expected_bytes, self._max_bytes)
            require_space(self._incoming, expected_bytes)
        folder = self._new_folder()
        upload = Upload(folder, self._max_bytes)
        try:
            yield upload
        finally:
            upload.close()
            shutil.rmtree(folder, ignore_errors=True)

    def commit(self, upload: Upload) -> StoredSlide:
        """Keep a finished upload if it is a slide that can be read.

        The same bytes sent before are not stored again: that slide is returned, under its first name.

        Raises:
            SlideNameError: when the client's file name cannot be used.
            ArchiveError: when it is a zip that cannot be unpacked.
            SlideTooLargeError: when the unpacked zip is larger than an upload may be.
            StorageFullError: when the unpacked zip does not fit on the disk.
            SlideUnreadableError: when it is not a slide that can be read.
            SlideLimitError: when it claims sizes that should not be decoded.
        """
        slide_id = upload.sha256[:24]
        name = slide_name(upload.name)
        with_same_bytes = self._load(slide_id)
        if with_same_bytes is not None:
            return with_same_bytes
        content = upload.extract()
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
        return self._publish(slide, upload.folder)

    def register(self, uri: str) -> StoredSlide:
        """Register a slide in place, by path or `file://` URI under an allow-listed folder.

        Its id is made of path, size and modification time, so a file that changed becomes another slide.

        Raises:
            RootNotAllowedError: when it, or a file that belongs to it, lies outside those folders.
            SlideUnreadableError: when it is not a slide that can be read, or vanishes meanwhile.
            SlideLimitError: when it claims sizes that should not be decoded.
        """
        path = local_path(uri)
        if not is_under(path, self._allowed):
            raise RootNotAllowedError(
                f"{uri} is not under a folder this service may read. "
                "Set DAREFINE_SLIDE_ROOTS, or upload the slide."
            )
        require_inside(path, self._allowed)
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
        slide = StoredSlide(slide_id, path.name, str(path), size, None, time.time(), info)
        return self._publish(slide, self._new_folder())

    def _new_folder(self) -> Path:
        """Create an empty folder that `list` does not show."""
        folder = self._incoming / uuid.uuid4().hex
        folder.mkdir()
        return folder

    def _publish(self, slide: StoredSlide, folder: Path) -> StoredSlide:
        """Move `folder` to the slide's id in one step; return the slide of another request that was first."""
        final = self._root / slide.id
        record = {**slide.to_json(), "path": path_in_record(final, Path(slide.path), slide.sha256)}
        with atomic_file(folder / RECORD) as temporary:
            temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")
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
        """Return the slide of this id.

        Raises:
            SlideNotFoundError: when there is none.
        """
        slide = self._load(slide_id)
        if slide is None:
            raise SlideNotFoundError(f"No slide has the id {slide_id!r}.")
        return slide

    def get_readable(self, slide_id: str) -> StoredSlide:
        """Return the slide of this id if a job may read it; links may have changed since it was registered.

        Raises:
            SlideNotFoundError: when there is none.
            RootNotAllowedError: when a slide registered in place leads outside the allow-listed folders.
        """
        slide = self.get(slide_id)
        if slide.sha256 is None:
            require_inside(Path(slide.path), self._allowed)
        return slide

    def with_sha256(self, sha256: str) -> tuple[StoredSlide, ...]:
        """Return the slide that was uploaded with this sha256, or nothing."""
        slide = self._load(sha256[:24])
        return (slide,) if slide is not None and slide.sha256 == sha256 else ()

    def list(self) -> list[StoredSlide]:
        """Return every slide, newest first."""
        slides = (self._load(folder.name) for folder in self._root.iterdir())
        return sorted((s for s in slides if s is not None), key=lambda s: (-s.created_at, s.id))

    def delete(self, slide_id: str) -> None:
        """Remove the slide; a registered slide's own files stay.

        Raises:
            SlideNotFoundError: when there is none of this id.
        """
        self.get(slide_id)
        self._discard(self._root / slide_id)

    def _discard(self, folder: Path) -> None:
        """Remove a slide's folder in one step as seen from outside; do nothing when it is gone already."""
        doomed = self._incoming / uuid.uuid4().hex
        with contextlib.suppress(FileNotFoundError):
            folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def _load(self, slide_id: str) -> StoredSlide | None:
        """Read the slide of this id; return None when there is none, or none whose record can be read."""
        if not SLIDE_ID.fullmatch(slide_id):
            return None
        folder = self._root / slide_id
        try:
            record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            return StoredSlide.from_json({**record, "path": str(path_of(folder, record))})
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError, KeyError):
            logger.exception("the record of slide %s cannot be read, leaving it out", slide_id)
            return None
