"""Send a large file so that a broken connection, or a killed client or service, loses little (tus 1.0)."""

import base64
from collections.abc import Iterator
from pathlib import Path

from .connection import AWAY, Connection
from .errors import AnswerInvalidError, ServiceRefusedError
from .sending import CHUNK, Sent
from .upload_memory import UploadMemory

UPLOADS = "/v1/uploads"

RESUMABLE_BYTES = 32 << 20
"""Size from which files are sent so; smaller ones go in one request."""

PART_BYTES = 64 << 20
"""Bytes of one request: what is lost at most where a proxy gathers a body before it passes it on."""

RETRIED = AWAY | {408, 409, 423, 429}
"""Answers after which it is worth to ask for the offset and go on: another request was there, or too many."""

BEGINNINGS = 3
"""How often an upload that the service has lost is begun."""

TUS = {"Tus-Resumable": "1.0.0"}


def send_resumable(connection: Connection, file: Path, sha256: str, memory: UploadMemory, sent: Sent) -> str:
    """Send a file, from where an earlier try ended; return the path of the slide it has become.

    `sent` is told bytes sent and in all.

    Raises:
        ServiceUnreachableError: when the service stays away.
        ServiceRefusedError: when it does not take the file.
        AnswerInvalidError: when what answers does not speak tus.
        OSError: when the file cannot be read.
    """
    upload = UnfinishedUpload(connection, file, sha256, memory, sent)
    while upload.slide is None:
        connection.patiently(upload.step, away=RETRIED)
    return upload.slide


class UnfinishedUpload:
    """A file on its way to a service. `slide` is the path of the slide, once it has become one."""

    def __init__(
        self, connection: Connection, file: Path, sha256: str, memory: UploadMemory, sent: Sent
    ) -> None:
        self.slide: str | None = None
        self._connection = connection
        self._file = file
        self._total = file.stat().st_size
        self._key = (connection.url, file.name, sha256)
        self._sha256 = sha256
        self._memory = memory
        self._sent = sent
        self._path = memory.recall(*self._key)
        self._offset: int | None = None
        self._beginnings = 0

    def step(self) -> None:
        """Send one more part; after a failure ask first how much is there.

        Raises:
            ServiceUnreachableError: when nobody answers.
            ServiceRefusedError: when the service refuses.
            AnswerInvalidError: when what answers does not speak tus.
        """
        path, offset = self._place()
        self._offset = None
        headers = {
            **TUS,
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(min(PART_BYTES, self._total - offset)),
        }
        try:
            answer = self._connection.request("PATCH", path, headers=headers, content=self._part(offset))
        except ServiceRefusedError as error:
            if error.status not in RETRIED:
                self._memory.forget(*self._key)
            raise
        self._offset = offset_in(answer.headers.get("upload-offset"))
        if self._offset == self._total:
            self.slide = place_in(answer.headers.get("location"))
            self._memory.forget(*self._key)

    def _place(self) -> tuple[str, int]:
        """Return where the upload lies and how many bytes are there; begin it if there is none."""
        if self._path is not None and self._offset is not None:
            return self._path, self._offset
        if self._path is not None:
            try:
                answer = self._connection.request("HEAD", self._path, headers=TUS)
            except ServiceRefusedError as error:
                if error.status != 404 or self._beginnings >= BEGINNINGS:
                    raise
            else:
                return self._path, offset_in(answer.headers.get("upload-offset"))
        self._path = self._begin()
        return self._path, 0

    def _begin(self) -> str:
        """Begin the upload, and remember it."""
        self._beginnings += 1
        pairs = {"filename": self._file.name, "sha256": self._sha256}
        metadata = ",".join(
            f"{key} {base64.b64encode(text.encode()).decode()}" for key, text in pairs.items()
        )
        headers = {**TUS, "Upload-Length": str(self._total), "Upload-Metadata": metadata}
        path = place_in(self._connection.request("POST", UPLOADS, headers=headers).headers.get("location"))
        self._memory.keep(*self._key, path)
        return path

    def _part(self, offset: int) -> Iterator[bytes]:
        """Yield the bytes of one request in chunks."""
        end = min(offset + PART_BYTES, self._total)
        with self._file.open("rb") as source:
            source.seek(offset)
            while offset < end and (chunk := source.read(min(CHUNK, end - offset))):
                yield chunk
                offset += len(chunk)
                self._sent(offset, self._total)


def offset_in(header: str | None) -> int:
    """Return the number of an Upload-Offset header.

    Raises:
        AnswerInvalidError: when it holds none.
    """
    if header is None or not header.isdecimal():
        raise AnswerInvalidError("What answers the upload does not speak tus: it names no Upload-Offset.")
    return int(header)


def place_in(header: str | None) -> str:
    """Return the path of a Location header, which must be one of the service itself.

    Raises:
        AnswerInvalidError: when it is absent or leads elsewhere.
    """
    if header is None or not header.startswith("/v1/"):
        raise AnswerInvalidError(f"What answers the upload names a place that is none of it: {header!r}.")
    return header
