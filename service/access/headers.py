"""Add the headers that tell browsers what a response may do."""

from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

DATA_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""Content-Security-Policy of what is no page: data, pictures, downloads."""


def with_security_headers(
    send: Send, *, shared: bool, on_start: Callable[[int, MutableHeaders], None]
) -> Send:
    """Return `send`, adding security headers that the response does not set itself.

    Args:
        send: takes the response's messages.
        shared: whether pages of other origins may read responses (CORS is on).
        on_start: told status and headers of the response.
    """
    defaults = {
        "Content-Security-Policy": DATA_POLICY,
        "Cross-Origin-Resource-Policy": "cross-origin" if shared else "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        # What a key opened must not be served to the next user of a browser or a proxy.
        "Cache-Control": "private, no-cache",
    }

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in defaults.items():
                headers.setdefault(name, value)
            on_start(message["status"], headers)
        await send(message)

    return send_with_headers
