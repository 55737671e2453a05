"""Send JSON and tables as gzip to clients that take it."""

import gzip

import anyio.to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .accept import takes_gzip

KINDS = frozenset({"application/json", "application/problem+json", "text/csv", "text/plain"})
"""Media types that are worth it. Pictures, TIFFs and tiles are compressed as they are."""

SMALLEST = 1024
"""Bytes from which on an answer is compressed."""

IN_THREAD = 128 << 10
"""Bytes from which on that is done in a thread, so that others are answered meanwhile."""

LEVEL = 5


class GzipMiddleware:
    """ASGI middleware that compresses answers of KINDS that come whole; streams and files pass unchanged."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, and compress its answer if that helps."""
        if scope["type"] != "http" or not takes_gzip(Headers(scope=scope).get("accept-encoding", "")):
            await self._app(scope, receive, send)
            return
        held: Message | None = None

        async def send_packed(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and is_worth_it(Headers(raw=message["headers"])):
                held = message
                return
            if held is not None:
                start, held = held, None
                message = await packed(start, message)
                await send(start)
            await send(message)

        await self._app(scope, receive, send_packed)


def is_worth_it(headers: Headers) -> bool:
    """Return whether an answer with these headers is compressed: JSON or a table, not a file with ranges."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return (
        kind in KINDS
        and int(headers.get("content-length", "0")) >= SMALLEST
        and not {"content-encoding", "accept-ranges"} & set(headers.keys())
    )


async def packed(start: Message, body: Message) -> Message:
    """Return the message with its body compressed, and change the head `start` to fit."""
    headers = MutableHeaders(raw=start["headers"])
    headers.add_vary_header("Accept-Encoding")
    content: bytes = body.get("body", b"")
    if body.get("more_body"):
        return body
    if len(content) >= IN_THREAD:
        content = await anyio.to_thread.run_sync(gzip.compress, content, LEVEL)
    else:
        content = gzip.compress(content, LEVEL)
    headers["Content-Encoding"] = "gzip"
    headers["Content-Length"] = str(len(content))
    return {**body, "body": content}
