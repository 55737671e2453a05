"""Sweep the folders of uploads again and again while the service runs."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)

EVERY_S = 60.0
"""Seconds between sweeps."""


@contextlib.contextmanager
def sweeping(*sweeps: Callable[[], None]) -> Iterator[None]:
    """Call `sweeps` every EVERY_S seconds, in a thread, inside the context; their failures are logged."""
    task = asyncio.create_task(sweep_on(sweeps))
    try:
        yield
    finally:
        task.cancel()


async def sweep_on(sweeps: tuple[Callable[[], None], ...]) -> None:
    """Sweep until cancelled."""
    while True:
        await asyncio.sleep(EVERY_S)
        for sweep in sweeps:
            try:
                await asyncio.to_thread(sweep)
            except Exception:  # the next sweep may do better, and without any the disk fills
                logger.exception("uploads cannot be swept")
