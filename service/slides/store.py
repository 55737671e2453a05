"""Store slides on disk: uploads, and files registered in place, each inspected before it is accepted.

Layout: `slides/<id>/slide.json` and `slides/<id>/content/<file or unpacked archive>`. An uploaded slide is a
reference: its id is made of sha256, file name and owner. References to the same bytes hold hard links to the
same files, so bytes are stored once and stay as long as one reference does. A registered slide stays where it
is.
"""

import contextlib
import hashlib
import json
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wsi.atomic import atomic_file, flush_folder, flush_tree
from wsi.errors import SlideUnreadableError
from wsi.reading.slide_info import SlideInfo
from wsi.stored_slides import RECORD, SLIDE_ID, path_in_record, path_of

from ..errors import RootNotAllowedError, SlideNotFoundError
from .archive import innermost, is_archive, slide_name
from .disk import require_space
from .references import BYTES_DIGITS, link_or_copy, reference_id
from .roots import is_under, local_path, require_inside
from .upload import (
    CONTENT,
    PART,
    SLIDE,
    Received,
    Upload,
    new_content,
    remove_stale_uploads,
    require_size,
    upload_folder,
)

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
        keep_names: whether uploaded files keep their names on disk; they are part of messages and logs.
    """

    def __init__(
        self,
        root: Path,
        *,
        allowed: tuple[Path, ...],
        max_bytes: int,
        inspect: Callable[[Path], SlideInfo],
        keep_names: bool = True,
    ) -> None:
        self._root = root
        self._incoming = root / ".incoming"
        self._allowed = tuple(folder.resolve() for folder in allowed)
        self._max_bytes = max_bytes
        self._inspect = inspect
        self._keep_names = keep_names
        self._incoming.mkdir(parents=True, exist_ok=True)
        self.sweep()

    def sweep(self) -> None:
        """Remove what killed processes left of uploads."""
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
        with upload_folder(self._incoming) as folder:
            upload = Upload(folder, self._max_bytes)
            try:
                yield upload
            finally:
                upload.close()

    def commit(self, upload: Upload, owner: str = "") -> StoredSlide:
        """Keep a finished upload if it is a slide that can be read.

        Bytes that are here already are not stored again; the slide has its own name all the same. `owner` is
        whose it is: the same bytes under the same name of the same owner are the same slide.

        Raises:
            SlideNameError: when the client's file name cannot be used.
            ArchiveError: when it is a zip that cannot be unpacked.
            SlideTooLargeError: when the unpacked zip is larger than an upload may be.
            StorageFullError: when the unpacked zip does not fit on the disk.
            SlideUnreadableError: when it is not a slide that can be read.
            SlideLimitError: when it claims sizes that should not be decoded.
        """
        return self._keep(upload.received(slide_name(upload.name)), owner)

    def commit_file(self, file: Path, name: str, sha256: str, owner: str = "") -> StoredSlide:
        """Keep a whole file on the same disk as `commit` keeps an upload; it stays where it is, too.

        Raises:
            OSError: when it cannot be linked.
            SlideNameError: and what else `commit` raises.
        """
        with upload_folder(self._incoming) as folder:
            link_or_copy(file, folder / PART)
            received = Received(folder, slide_name(name), file.stat().st_size, sha256)
            return self._keep(received, owner)

    def refer(self, sha256: str, name: str, owner: str = "") -> StoredSlide:
        """Make a slide of bytes that were uploaded before, under another name or for somebody else.

        Raises:
            SlideNotFoundError: when these bytes are not here, or were a zip and shall be none, or inversely.
            SlideNameError: when the name cannot be used.
            SlideUnreadableError: when they are no slide under this name.
            SlideLimitError: when it claims sizes that should not be decoded.
        """
        name = slide_name(name)
        known = self._load(reference_id(sha256, name, owner))
        if known is not None:
            return known
        with upload_folder(self._incoming) as folder:
            same = self._with_same_bytes(sha256, name)
            content = None if same is None else self._link(same, folder, name)
            if same is None or content is None:
                raise SlideNotFoundError("No slide was uploaded with this sha256: send it.")
            return self._accept(Received(folder, name, same.bytes, sha256), content, owner)

    def _keep(self, received: Received, owner: str) -> StoredSlide:
        """Keep what was received, linking to the same bytes if they are here; raises what `commit` raises."""
        known = self._load(reference_id(received.sha256, received.name, owner))
        if known is not None:
            return known
        same = self._with_same_bytes(received.sha256, received.name)
        content = None if same is None else self._link(same, received.folder, received.name)
        if content is None:
            content = received.extract(self._file_name(received.name), self._max_bytes)
        return self._accept(received, content, owner)

    def _accept(self, received: Received, content: Path, owner: str) -> StoredSlide:
        """Look at the slide at `content` and publish it."""
        slide_id = reference_id(received.sha256, received.name, owner)
        slide = StoredSlide(
            id=slide_id,
            name=received.name,
            path=str(self._root / slide_id / content.relative_to(received.folder / SLIDE)),
            bytes=received.bytes,
            sha256=received.sha256,
            created_at=time.time(),
            info=self._inspect(content),
        )
        return self._publish(slide, received.folder / SLIDE)

    def _with_same_bytes(self, sha256: str, name: str) -> StoredSlide | None:
        """Return a slide whose files can serve for a slide of this name too."""
        return next((s for s in self.with_sha256(sha256) if is_archive(s.name) == is_archive(name)), None)

    def _link(self, same: StoredSlide, folder: Path, name: str) -> Path | None:
        """Link the files of a slide into the folder of an upload and return their path there.

        Returns None if the slide is removed meanwhile.
        """
        content = folder / SLIDE / CONTENT
        try:
            if is_archive(name):
                shutil.copytree(self._root / same.id / CONTENT, content, copy_function=link_or_copy)
                return innermost(content)
            file = new_content(folder) / self._file_name(name)
            link_or_copy(Path(same.path), file)
        except (FileNotFoundError, shutil.Error):
            shutil.rmtree(folder / SLIDE, ignore_errors=True)
            return None
        return file

    def _file_name(self, name: str) -> str:
        """Return the name of the file on disk for a slide of this name."""
        return name if self._keep_names else f"slide{Path(name).suffix}"

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
        with upload_folder(self._incoming) as folder:
            (folder / SLIDE).mkdir()
            return self._publish(slide, folder / SLIDE)

    def _publish(self, slide: StoredSlide, folder: Path) -> StoredSlide:
        """Move `folder` to the slide's id in one step; return the slide of another request that was first.

        All of it is on the disk by then, so that a power cut takes back no slide that a client was promised.
        """
        final = self._root / slide.id
        record = {**slide.to_json(), "path": path_in_record(final, Path(slide.path), slide.sha256)}
        with atomic_file(folder / RECORD) as temporary:
            temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")
        flush_tree(folder)
        try:
            folder.rename(final)
        except OSError:
            known = self._load(slide.id)
            if known is not None:
                return known
            # What stands there cannot be read, so nobody can use it: this upload takes its place.
            self._discard(final)
            folder.rename(final)
        flush_folder(self._root)
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
        """Return the slides that were uploaded with this sha256, newest first."""
        # Ids begin with their sha256, those of earlier versions too.
        slides = (self._load(folder.name) for folder in self._root.glob(f"{sha256[:BYTES_DIGITS]}*"))
        return by_age(slide for slide in slides if slide is not None and slide.sha256 == sha256)

    def list(self) -> list[StoredSlide]:
        """Return every slide, newest first."""
        slides = (self._load(folder.name) for folder in self._root.iterdir())
        return list(by_age(slide for slide in slides if slide is not None))

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


def by_age(slides: Iterable[StoredSlide]) -> tuple[StoredSlide, ...]:
    """Return slides newest first."""
    return tuple(sorted(slides, key=lambda slide: (-slide.created_at, slide.id)))
