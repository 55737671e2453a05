"""Read slides in a few processes that may die, so that no slide can harm the API or another slide's tiles."""

import asyncio
import json
import logging
import math
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from wsi.tiles.reader import Request

from ..errors import SlideQuarantinedError, TilesBusyError, TileUnreadableError

logger = logging.getLogger(__name__)

READER = ("-m", "wsi.tiles.reader")
"""What Python runs as a reader."""

START_S = 60.0
"""Seconds a reader may take to start on a busy machine."""

END_S = 5.0
"""Seconds a killed reader may take to end."""

MAX_WAITING = 512
"""Different tiles waited for at once; more are refused."""

IsGone = Callable[[], Awaitable[bool]]
"""Whether the client of a request has hung up."""


class _ReaderDiedError(Exception):
    """The reader ended before it had answered."""


class _Reader:
    """One reader process and the pipes to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._requests, self._answers = process, process.stdin, process.stdout

    @classmethod
    async def start(cls, open_slides: int, folders: Sequence[Path]) -> Self:
        """Start a reader of slides in these folders and wait until it is ready.

        Raises:
            TimeoutError: it is not within START_S.
            _ReaderDiedError: it ended at once.
        """
        # The child must find this package wherever the parent did.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
        reader = cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                *READER,
                str(os.getpid()),
                str(open_slides),
                *map(str, folders),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=environment,
            )
        )
        try:
            async with asyncio.timeout(START_S):
                await reader._answer()
        except BaseException:
            await reader.end()
            raise
        return reader

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended, as far as is known."""
        return self._process.returncode is None

    @property
    def cause(self) -> str:
        """How the process ended."""
        code = self._process.returncode
        if code is None or code >= 0:
            return f"exit status {code}"
        return signal.Signals(-code).name

    async def ask(self, request: Request) -> bytes:
        """Return the JPEG asked for.

        Raises:
            TileUnreadableError: the slide cannot be read there.
            _ReaderDiedError: the process ended meanwhile.
        """
        try:
            self._requests.write(request.to_line())
            await self._requests.drain()
            header = await self._answer()
            if "error" in header:
                raise TileUnreadableError(header["error"])
            return await self._answers.readexactly(header["bytes"])
        except (OSError, asyncio.IncompleteReadError) as error:
            await self.end()
            raise _ReaderDiedError(self.cause) from error

    async def _answer(self) -> dict[str, Any]:
        line = await self._answers.readline()
        if not line.endswith(b"\n"):
            await self.end()
            raise _ReaderDiedError(self.cause)
        header: dict[str, Any] = json.loads(line)
        return header

    async def end(self) -> None:
        """Kill the process and close the pipes to it."""
        if self.is_alive:
            with suppress(ProcessLookupError):
                self._process.kill()
        self._requests.close()
        # A process that waits for a dead file server cannot be killed; it is left to the system.
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self._process.wait()
                await self._answers.read()


@dataclass(slots=True)
class _Flight:
    """A tile that is being read, or waits for a reader, and who waits for it."""

    task: "asyncio.Task[bytes]"
    clients: list[IsGone] = field(default_factory=list)


class SlideReaders:
    """A pool of readers, started when they are first needed. For one event loop.

    Equal requests are read once. A reader that dies is replaced and its request repeated; a slide that kills
    two, or takes too long, is left alone for a while.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        readers: int,
        open_slides: int,
        timeout_s: float,
        quarantine_s: float,
    ) -> None:
        """Take the limits.

        Args:
            folders: where slides lie; readers can open nothing else.
            readers: processes, each of which reads one tile at a time.
            open_slides: slides that each of them holds open.
            timeout_s: seconds that reading one tile may take.
            quarantine_s: seconds for which a slide is left alone that killed or stalled its reader.
        """
        self._folders = tuple(folders)
        self._open_slides, self._timeout_s, self._quarantine_s = open_slides, timeout_s, quarantine_s
        self._turns = asyncio.Semaphore(readers)
        self._idle: list[_Reader] = []
        self._flights: dict[Request, _Flight] = {}
        self._quarantined: dict[str, tuple[float, str]] = {}

    async def read(self, request: Request, is_gone: IsGone) -> bytes:
        """Return the JPEG asked for; nothing, if all who asked for it have hung up.

        Raises:
            TileUnreadableError: the slide cannot be read there.
            SlideQuarantinedError: the slide killed its readers or took too long, now or a while ago.
            TilesBusyError: too many tiles are waited for.
        """
        self._check_quarantine(request.slide_id)
        flight = self._flights.get(request)
        if flight is None:
            if len(self._flights) >= MAX_WAITING:
                raise TilesBusyError("Too many tiles are asked for at once; ask again in a moment.")
            task = asyncio.create_task(self._fly(request))
            # Nobody may be left to hear of a failure.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            flight = self._flights[request] = _Flight(task)
        flight.clients.append(is_gone)
        # One client that hangs up must not end what the others wait for.
        return await asyncio.shield(flight.task)

    async def close(self) -> None:
        """Kill all readers, and end all that wait for them."""
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(reader.end() for reader in self._idle))
        self._idle.clear()

    async def _fly(self, request: Request) -> bytes:
        try:
            async with self._turns:
                if not await self._is_wanted(request):
                    return b""
                self._check_quarantine(request.slide_id)
                return await self._read(request)
        finally:
            self._flights.pop(request, None)

    async def _is_wanted(self, request: Request) -> bool:
        """Return whether somebody still waits; viewers that moved on have hung up."""
        for is_gone in self._flights[request].clients:
            if not await is_gone():
                return True
        # Before anybody can join: who asks from here on is not among them.
        self._flights.pop(request)
        return False

    async def _read(self, request: Request) -> bytes:
        """Read with a reader, with a fresh one if it dies: what killed the first may have been anything."""
        cause = ""
        for _ in range(2):
            try:
                async with self._reader() as reader, asyncio.timeout(self._timeout_s):
                    return await reader.ask(request)
            except _ReaderDiedError as error:
                cause = f"it killed its reader twice, the last time by {error}"
            except TimeoutError:
                cause = f"it could not be read within {self._timeout_s:g} s"
                break
        logger.error("slide %s is quarantined: %s", request.slide_id, cause)
        self._quarantined[request.slide_id] = (time.monotonic() + self._quarantine_s, cause)
        raise self._refusal(cause, self._quarantine_s)

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[_Reader]:
        """Lend a reader; one that did not answer in good order is killed."""
        while self._idle and not self._idle[-1].is_alive:
            await self._idle.pop().end()
        reader = self._idle.pop() if self._idle else await _Reader.start(self._open_slides, self._folders)
        try:
            yield reader
        except TileUnreadableError:
            self._idle.append(reader)
            raise
        except BaseException:
            await reader.end()
            raise
        else:
            self._idle.append(reader)

    def _check_quarantine(self, slide_id: str) -> None:
        until, cause = self._quarantined.get(slide_id, (0.0, ""))
        left_s = until - time.monotonic()
        if left_s > 0:
            raise self._refusal(cause, left_s)
        self._quarantined.pop(slide_id, None)

    def _refusal(self, cause: str, left_s: float) -> SlideQuarantinedError:
        return SlideQuarantinedError(
            f"The slide is quarantined: {cause}. It is left alone for {math.ceil(left_s / 60)} min; "
            "other slides are read as ever. If it happens again the file is damaged: "
            "send it again, or export it anew."
        )
