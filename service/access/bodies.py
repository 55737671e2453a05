"""Read small bodies before their route does, bounded in bytes and time, so that nobody holds memory long."""

import asyncio

from starlette.requests import HTTPConnection
from starlette.types import Message, Receive

from ..errors import BodyTooLargeError, RequestInvalidError, UploadIdleError
from ..region_fields import JOB_BYTES
from ..schemas import PREFIX

SMALL_BYTES = 64 << 10
"""Longest body of a call that uploads nothing and describes no job."""

DESCRIBES_JOB = frozenset({f"{PREFIX}/jobs", f"{PREFIX}/jobs/preflight"})
"""Paths whose bodies may hold polygons, up to JOB_BYTES."""

BATCHES = f"{PREFIX}/batches"
BATCH_BYTES = 16 << 20
"""Longest body that names the slides of a batch: 100 000 with paths of 160 bytes."""

SMALL_S = 20.0
"""Seconds in which it must come."""

METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
"""Of the others no route reads a body."""


def has_small_body(call: HTTPConnection) -> bool:
    """Tell whether a call may have a body that is no slide, nor part of one, for its route to stream."""
    method: str = call.scope["method"]
    path: str = call.scope["path"]
    if path == f"{PREFIX}/jobs":
        return method == "POST" and "multipart/" not in call.headers.get("content-type", "").lower()
    whole, part = f"{PREFIX}/slides", f"{PREFIX}/uploads/"
    upload = (method == "PUT" and path == whole) or (method == "PATCH" and path.startswith(part))
    return method in METHODS_WITH_BODY and not upload


def longest_body(call: HTTPConnection) -> int:
    """Return the longest body, in bytes, that a call which uploads nothing may have."""
    if call.scope["path"] == BATCHES:
        return BATCH_BYTES
    return JOB_BYTES if call.scope["path"] in DESCRIBES_JOB else SMALL_BYTES


async def read_small_body(receive: Receive, longest: int) -> Receive:
    """Read a whole body and return a `receive` that gives it, and then what comes after it.

    Raises:
        BodyTooLargeError: beyond `longest` bytes.
        UploadIdleError: when it does not come in SMALL_S.
        RequestInvalidError: when the client leaves in its middle.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(SMALL_S):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RequestInvalidError("The body ended early.")
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > longest:
                    raise BodyTooLargeError(
                        f"A body of more than {longest} bytes is not taken here; upload slides as files."
                    )
    except TimeoutError as error:
        raise UploadIdleError(f"The body did not come within {SMALL_S:g} s.") from error
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    return receive_again
