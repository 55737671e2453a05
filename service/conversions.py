"""Make result files on request, each in a process of its own, so that the API goes on answering."""

import asyncio
import logging
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from pathlib import Path

from wsi.reading.inspect import child_environment

from .errors import ConversionFailedError

logger = logging.getLogger(__name__)


class Conversions:
    """Runs at most `limit` conversions at once, in the order they came; for one event loop."""

    def __init__(self, limit: int) -> None:
        self._turns = asyncio.Semaphore(limit)

    async def make(self, out: Path, command: Sequence[str]) -> None:
        """Run `command`, which writes `out` whole or not at all; do nothing if the file is there.

        A client that hangs up does not stop it: the file is there when it asks again.

        Raises:
            ConversionFailedError: it ended without the file.
        """
        async with self._turns:
            if out.exists():
                return
            process = await asyncio.create_subprocess_exec(
                *command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, env=child_environment()
            )
            _, complaint = await process.communicate()
        if process.returncode or not out.exists():
            logger.error("%s was not made: %s", out.name, complaint.decode(errors="replace"))
            raise ConversionFailedError(
                "The file could not be made; the log of the service says why. Is the disk full?"
            )
