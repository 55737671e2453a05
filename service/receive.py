"""Stream request bodies of any size from the socket to the disk in bounded memory."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from streaming_form_data import StreamingFormDataParser
from streaming_form_data.parser import ParseFailedException
from streaming_form_data.targets import BaseTarget, ValueTarget
from streaming_form_data.validators import MaxSizeValidator, ValidationError

from .errors import BodyTooLargeError, RequestInvalidError, UploadIdleError
from .slides.upload import Upload
from .turns import Turn, busy

BUFFER = 2 << 20
"""Bytes gathered before each write: enough that handing them to a thread costs little beside writing them.

And so few that they are still in the processor's cache when they are hashed and written.
"""

ALL_BUFFERS = 8 << 20
"""Bytes that all requests together gather; when there are more, whoever gets some waits for the disk."""

COPIED_BYTES = 4096
"""Chunks of fewer bytes are joined: as an object of its own each would take more memory than it has bytes."""

SLOW_BYTES = 16 << 10
"""Bytes that a client must send before its patience of the service begins anew."""

PART_HEAD_BYTES = 64 << 10
"""Bytes of a form that may come without any of a slide or a field: the heads of its parts."""

JSON_BYTES = 64 << 10
"""Longest JSON body, in bytes."""

FIELD_BYTES = 4096
"""Longest value of a usual form field, in bytes."""


class WriteBehind:
    """Write-behind buffer of one request: a worker thread writes what came by `feed`, while more is received.

    Used on the event loop alone.
    """

    unwritten = 0
    """Bytes that all requests of this process have gathered and not written yet."""

    def __init__(self, feed: Callable[[bytes], object]) -> None:
        self._feed = feed
        self._pieces: list[bytes | bytearray] = []
        self._bytes = 0
        self._writing: asyncio.Task[None] | None = None

    async def add(self, chunk: bytes) -> None:
        """Take `chunk`, to be written now or later; wait for the disk when too much is unwritten.

        Raises what `feed` raises, of this chunk or of those before.
        """
        if len(chunk) >= COPIED_BYTES:
            self._pieces.append(chunk)
        elif self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += chunk
        else:
            self._pieces.append(bytearray(chunk))
        self._bytes += len(chunk)
        WriteBehind.unwritten += len(chunk)
        is_full = WriteBehind.unwritten > ALL_BUFFERS
        if is_full or self._bytes >= BUFFER:
            await self._write()
        if is_full:
            await self._written()

    async def close(self) -> None:
        """Write what is left, and wait for it. What came after a write that failed is forgotten."""
        if self._pieces:
            await self._write()
        await self._written()

    async def _write(self) -> None:
        """Begin to write what is gathered, after what is being written."""
        await self._written()
        # As one: each piece hashed and written alone would take the interpreter from the loop. Joined here:
        # malloc keeps memory apart for each thread that asks for it.
        taken = b"".join(self._pieces)
        self._pieces, self._bytes = [], 0
        self._writing = asyncio.create_task(self._hand_over(taken))

    async def _hand_over(self, taken: bytes) -> None:
        try:
            await run_in_threadpool(self._feed, taken)
        finally:
            WriteBehind.unwritten -= len(taken)

    async def _written(self) -> None:
        """Wait for what is being written."""
        writing, self._writing = self._writing, None
        if writing is None:
            return
        try:
            await writing
        except BaseException:
            WriteBehind.unwritten -= self._bytes
            self._pieces, self._bytes = [], 0
            raise


async def stream_body(
    request: Request, feed: Callable[[bytes], object], *, idle_s: float, turn: Turn | None = None
) -> None:
    """Pass the body to `feed` in pieces, in a worker thread.

    When the body ends early, `feed` still gets what came.

    Raises:
        UploadIdleError: when less than SLOW_BYTES come in `idle_s` seconds.
        UploadBusyError: when `turn` is over before the body is.
        ClientDisconnect: when the client leaves.
    """
    turn = turn or Turn()
    chunks, behind = aiter(request.stream()), WriteBehind(feed)
    heard, until = 0, time.monotonic() + idle_s
    try:
        while True:
            async with turn.waiting(until - time.monotonic()):
                chunk = await anext(chunks, None)
            if chunk is None:
                break
            heard += len(chunk)
            if heard >= SLOW_BYTES:
                heard, until = 0, time.monotonic() + idle_s
            came = time.monotonic()
            await behind.add(chunk)
            until += time.monotonic() - came  # a slow disk is not the client's fault
    except TimeoutError as error:
        if turn.over:
            raise busy() from error
        raise UploadIdleError(
            f"Less than {SLOW_BYTES} bytes came in {idle_s:g} s; send the rest again."
        ) from error
    finally:
        await behind.close()


async def read_small(request: Request, limit: int = JSON_BYTES) -> bytes:
    """Read a body that is expected to be small, such as JSON.

    Raises:
        BodyTooLargeError: beyond `limit` bytes.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise BodyTooLargeError(
                f"A JSON body of more than {limit} bytes is not taken; upload slides as files."
            )
    return bytes(body)


class UploadTarget(BaseTarget):  # type: ignore[misc]
    """Parser target that writes the file part of a form into an Upload."""

    def __init__(self, upload: Upload, before: Callable[[], object]) -> None:
        super().__init__()
        self.heard = 0
        """Calls so far."""
        self._upload = upload
        self._before = before

    def on_start(self) -> None:
        """Refuse a second file part, and what `before` refuses before the first.

        Raises:
            RequestInvalidError: when the upload has bytes or a name already.
        """
        self._before()
        if self._upload.bytes or self._upload.name is not None:
            raise RequestInvalidError("Send one file part named `slide`; a folder goes as one zip.")

    def on_data_received(self, chunk: bytes) -> None:
        """Append to the upload; raises what `Upload.write` raises."""
        self.heard += 1
        self._upload.write(chunk)

    def on_finish(self) -> None:
        """Note the part's file name."""
        self._upload.name = self.multipart_filename


class FieldTarget(ValueTarget):  # type: ignore[misc]
    """Parser target that keeps the value of a text field."""

    def __init__(self, longest: int) -> None:
        """Take at most `longest` bytes."""
        super().__init__(validator=MaxSizeValidator(longest))
        self.heard = 0
        """Calls so far."""

    def on_data_received(self, chunk: bytes) -> None:
        """Append to the value."""
        self.heard += 1
        super().on_data_received(chunk)


class PartHeads:
    """Pass a form on to its parser, and refuse heads of parts that do not end: the parser gathers them."""

    def __init__(
        self, targets: Sequence[UploadTarget | FieldTarget], parse: Callable[[bytes], object]
    ) -> None:
        self._targets = targets
        self._parse = parse
        self._unheard = 0

    def __call__(self, piece: bytes) -> None:
        """Pass on a piece.

        Raises:
            RequestInvalidError: when PART_HEAD_BYTES came without any of a slide or a field.
        """
        for start in range(0, len(piece), PART_HEAD_BYTES):
            heard = sum(target.heard for target in self._targets)
            part = piece[start : start + PART_HEAD_BYTES]
            self._parse(part)
            silent = heard == sum(target.heard for target in self._targets)
            self._unheard = self._unheard + len(part) if silent else 0
            if self._unheard >= PART_HEAD_BYTES:
                raise RequestInvalidError("A part of the form has a header without end.")


async def receive_form(
    request: Request,
    upload: Upload,
    fields: Mapping[str, int],
    *,
    idle_s: float,
    judge: Callable[[dict[str, str]], object],
) -> dict[str, str]:
    """Stream the `slide` part of a multipart form into `upload` and return the text fields.

    `fields` names the text fields and their longest values, in bytes; absent and empty ones are not in the
    answer. `judge` is given those that came before the slide, before it flows, and refuses by what it raises.

    Raises:
        UploadIdleError: when no byte comes for `idle_s` seconds.
        RequestInvalidError: when the form is malformed, has an unknown part, or no file named `slide`.
        SlideTooLargeError: when the file is larger than an upload may be.
        StorageFullError: when it does not fit on the disk.
    """
    targets = {name: FieldTarget(longest) for name, longest in fields.items()}
    slide = UploadTarget(upload, lambda: judge(values_of(targets)))
    try:
        parser = StreamingFormDataParser(headers=request.headers, strict=True)
        parser.register("slide", slide)
        for name, target in targets.items():
            parser.register(name, target)

        feed = PartHeads((slide, *targets.values()), parser.data_received)
        await stream_body(request, feed, idle_s=idle_s)
    except (ParseFailedException, ValidationError, UnicodeDecodeError) as error:
        raise RequestInvalidError(f"The multipart form cannot be read: {error}") from error
    if upload.name is None:
        raise RequestInvalidError(
            "Send the slide as a file part named `slide`, such as curl -F slide=@slide.svs"
        )
    return values_of(targets)


def values_of(targets: dict[str, FieldTarget]) -> dict[str, str]:
    """Return the text fields that have come and are not empty.

    Raises:
        RequestInvalidError: when one is no text.
    """
    try:
        return {name: target.value.decode() for name, target in targets.items() if target.value}
    except UnicodeDecodeError as error:
        raise RequestInvalidError("Form fields must be UTF-8 text.") from error
