"""Stream request bodies of any size from the socket to the disk in bounded memory."""

from collections.abc import Callable, Mapping

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from streaming_form_data import StreamingFormDataParser
from streaming_form_data.parser import ParseFailedException
from streaming_form_data.targets import BaseTarget, ValueTarget
from streaming_form_data.validators import MaxSizeValidator, ValidationError

from .errors import BodyTooLargeError, RequestInvalidError, UploadIdleError
from .slides.upload import Upload
from .turns import Turn, busy

BUFFER = 4 << 20
"""Bytes gathered before each write: enough that handing them to a thread costs little beside writing them."""

JSON_BYTES = 64 << 10
"""Longest JSON body, in bytes."""

FIELD_BYTES = 4096
"""Longest value of a usual form field, in bytes."""


async def stream_body(
    request: Request, feed: Callable[[bytes], object], *, idle_s: float, turn: Turn | None = None
) -> None:
    """Pass the body to `feed` in pieces of about BUFFER bytes, each in a worker thread.

    When the body ends early, `feed` still gets what came.

    Raises:
        UploadIdleError: when no byte comes for `idle_s` seconds.
        UploadBusyError: when `turn` is over before the body is.
        ClientDisconnect: when the client leaves.
    """
    turn = turn or Turn()
    chunks, buffer = aiter(request.stream()), bytearray()
    try:
        while True:
            async with turn.waiting(idle_s):
                chunk = await anext(chunks, None)
            if chunk is None:
                break
            buffer += chunk
            if len(buffer) >= BUFFER:
                piece, buffer = bytes(buffer), bytearray()
                await run_in_threadpool(feed, piece)
    except TimeoutError as error:
        if turn.over:
            raise busy() from error
        raise UploadIdleError(f"No byte came for {idle_s:g} s; send the rest again.") from error
    finally:
        if buffer:
            await run_in_threadpool(feed, bytes(buffer))


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
        self._upload.write(chunk)

    def on_finish(self) -> None:
        """Note the part's file name."""
        self._upload.name = self.multipart_filename


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
    targets = {name: ValueTarget(validator=MaxSizeValidator(longest)) for name, longest in fields.items()}
    try:
        parser = StreamingFormDataParser(headers=request.headers, strict=True)
        parser.register("slide", UploadTarget(upload, lambda: judge(values_of(targets))))
        for name, target in targets.items():
            parser.register(name, target)
        await stream_body(request, parser.data_received, idle_s=idle_s)
    except (ParseFailedException, ValidationError, UnicodeDecodeError) as error:
        raise RequestInvalidError(f"The multipart form cannot be read: {error}") from error
    if upload.name is None:
        raise RequestInvalidError(
            "Send the slide as a file part named `slide`, such as curl -F slide=@slide.svs"
        )
    return values_of(targets)


def values_of(targets: dict[str, ValueTarget]) -> dict[str, str]:
    """Return the text fields that have come and are not empty.

    Raises:
        RequestInvalidError: when one is no text.
    """
    try:
        return {name: target.value.decode() for name, target in targets.items() if target.value}
    except UnicodeDecodeError as error:
        raise RequestInvalidError("Form fields must be UTF-8 text.") from error
