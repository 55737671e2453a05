"""Bound what a connection may send before a request is one: uvicorn's protocol has no limits of its own.

Start uvicorn with `--http service.http_limits:LimitedProtocol`.
"""

import asyncio
import time

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 << 10
"""Longest head of a request, and longest part of a chunked body that is no data, in bytes."""

HEAD_S = 15.0
"""Seconds in which a head must come, from its first byte or the connection's beginning."""

CONNECTIONS = 500
"""Connections held open at once, each a file of the 1024 that a process may usually have open. Beyond, those
go that wait longest with nothing asked."""


class LimitedProtocol(HttpToolsProtocol):
    """HTTP/1.1 connection that closes itself when a head is too long or too slow, or there are too many."""

    _unparsed = 0
    """Bytes since the parser last had a whole head or a piece of a body."""
    in_head = True
    since = 0.0
    """When it began to wait for a head, in seconds of the monotonic clock."""
    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; if there are too many connections, close one that asks nothing, else this one."""
        super().connection_made(transport)
        self.since = time.monotonic()
        if len(self.connections) > CONNECTIONS:
            others = [other for other in self.connections if isinstance(other, LimitedProtocol)]
            silent = [other for other in others if other.in_head and other is not self]
            oldest = min(silent, key=lambda other: other.since, default=self)
            oldest.transport.abort()
        if not self.transport.is_closing():
            self._start_clock()

    def data_received(self, data: bytes) -> None:
        """Parse `data`, and refuse to gather more than a head may have."""
        self._unparsed += len(data)
        if self.in_head and self._clock is None:
            self._start_clock()
        super().data_received(data)
        if self._unparsed > HEAD_BYTES:
            self._refuse("431 Request Header Fields Too Large")

    def on_headers_complete(self) -> None:
        """Begin a request."""
        self.in_head = False
        self._heard()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._heard()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a body; another head may follow."""
        self.in_head, self.since = True, time.monotonic()
        self._heard()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._heard()
        super().connection_lost(exc)

    def _start_clock(self) -> None:
        self._clock = self.loop.call_later(HEAD_S, self._refuse, "408 Request Timeout")

    def _heard(self) -> None:
        self._unparsed = 0
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _refuse(self, status: str) -> None:
        """Answer with a status alone and close the connection."""
        if not self.transport.is_closing():
            self.transport.write(
                f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
            )
            self.transport.close()
