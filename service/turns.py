"""Give one request at a time the right to append to an upload; who goes on after a break ends the older one.

A connection that broke without a word looks alive to the server for long, and the client is back before.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from .errors import UploadBusyError

PATIENCE_S = 10.0
"""How long a request waits for the one before it to end, in seconds."""


class Turn:
    """One request's right to append. It is `over` when a later request wants to go on."""

    def __init__(self) -> None:
        self.over = False
        self.ended = asyncio.Event()
        self._clock: asyncio.Timeout | None = None

    @contextlib.asynccontextmanager
    async def waiting(self, seconds: float) -> AsyncIterator[None]:
        """Wait for the client inside the context, for some seconds or until the turn is over.

        Raises:
            TimeoutError: when either happens.
        """
        if self.over:
            raise TimeoutError
        async with asyncio.timeout(seconds) as clock:
            self._clock = clock
            try:
                yield
            finally:
                self._clock = None

    def end(self) -> None:
        """Let a later request go on."""
        self.over = True
        if self._clock is not None:
            self._clock.reschedule(asyncio.get_running_loop().time())


class Turns:
    """The turns of all uploads of this process."""

    def __init__(self) -> None:
        self._turns: dict[str, Turn] = {}

    @contextlib.asynccontextmanager
    async def take(self, upload_id: str) -> AsyncIterator[Turn]:
        """Yield the right to append to an upload.

        Raises:
            UploadBusyError: when the request that has it does not end in time.
        """
        await self.interrupt(upload_id)
        if upload_id in self._turns:  # two waited, and the other was first
            raise busy()
        turn = self._turns[upload_id] = Turn()
        try:
            yield turn
        finally:
            del self._turns[upload_id]
            turn.ended.set()

    async def interrupt(self, upload_id: str) -> None:
        """End the turn of the request that appends to an upload, and wait until it has written what it has.

        Raises:
            UploadBusyError: when it does not end in time: it makes a slide of the upload.
        """
        turn = self._turns.get(upload_id)
        if turn is None:
            return
        turn.end()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await turn.ended.wait()
        except TimeoutError as error:
            raise busy() from error


def busy() -> UploadBusyError:
    """Return the error of an upload that another request is at."""
    return UploadBusyError("Another request is at this upload; try again in a moment.")
