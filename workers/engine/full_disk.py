"""Wait while the disk is full, so that a job pauses instead of failing."""

import errno
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..errors import JobCancelledError, NotEnoughDiskError
from ..jobs import Progress

logger = logging.getLogger(__name__)

STAGE = "disk-full"
"""Stage of a job that waits for room."""

LEAST_FREE = 50_000_000
"""Bytes that must be free before a job that could not write goes on: some patches' worth."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 15.0
"""Pauses between tries, which double: free space that only the superuser may use looks like room."""

LOOK_S = 0.25
"""How soon a cancel is noticed, in seconds."""


def run_when_there_is_room(
    pipeline: Callable[[Callable[[Progress], None]], None],
    directory: Path,
    report: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> None:
    """Call `pipeline` with a callback for its progress, again after each time that the disk was full.

    It must go on from what it has stored. In between the job's stage is STAGE.

    Raises:
        JobCancelledError: `cancelled()` became true while it waited.
        NotEnoughDiskError: The job would not fit on an empty disk.
        Exception: Any other of the pipeline's.
    """
    latest, pause_s = Progress(), FIRST_PAUSE_S

    def tell(progress: Progress) -> None:
        nonlocal latest
        latest = progress
        report(progress)

    while True:
        try:
            return pipeline(tell)
        except Exception as error:
            needed = bytes_missing(error, directory)
            if needed is None:
                raise
            logger.warning("the job waits for room on the disk: %s", error)
        paused = replace(latest, stage=STAGE, megapixels_per_second=None, eta_s=None)
        _wait(needed, pause_s, directory, partial(report, paused), cancelled)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def bytes_missing(error: BaseException, directory: Path) -> int | None:
    """Return how many bytes must be free before a run that ended with `error` can go on.

    None if the disk was not the reason, or is too small.
    """
    if isinstance(error, NotEnoughDiskError):
        return error.needed if error.needed <= shutil.disk_usage(directory).total else None
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in {errno.ENOSPC, errno.EDQUOT}:
            return LEAST_FREE
        cause = cause.__cause__ or cause.__context__
    return None


def _wait(
    needed: int, pause_s: float, directory: Path, report: Callable[[], None], cancelled: Callable[[], bool]
) -> None:
    """Wait `pause_s` seconds, and until `needed` bytes are free; `report` is called at each look."""
    while True:
        report()
        until = time.monotonic() + pause_s
        while time.monotonic() < until:
            if cancelled():
                raise JobCancelledError
            time.sleep(LOOK_S)
        if shutil.disk_usage(directory).free >= min(needed, shutil.disk_usage(directory).total):
            return
