"""Say when the disk is full, and refuse what would fill it: one rule for uploads, /readyz and doctor."""

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..errors import StorageFullError

DISK_RESERVE = 10**9
"""Bytes left free on the disk whatever is uploaded, so that running jobs can finish."""

FULL = (errno.ENOSPC, errno.EDQUOT)


def room(folder: Path) -> int:
    """Return how many more bytes are taken on the disk of `folder`; negative when it counts as full."""
    return shutil.disk_usage(folder).free - DISK_RESERVE


def too_little(folder: Path) -> str:
    """Return how much is free on the disk of `folder`, and how much is kept for running jobs, as text."""
    free = shutil.disk_usage(folder).free
    return f"{free / 1e9:.1f} GB are free, and {DISK_RESERVE / 1e9:.0f} GB are left to running jobs"


def require_space(folder: Path, needed: int) -> None:
    """Check that `needed` more bytes fit on the disk of `folder` besides the reserve.

    Raises:
        StorageFullError: when they do not.
    """
    if needed > room(folder):
        raise storage_full()


@contextlib.contextmanager
def full_disk_refused() -> Iterator[None]:
    """Turn the system's refusal of a write inside the context, for want of space or quota, into ours.

    Raises:
        StorageFullError: in its place.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise storage_full() from error
        raise


def storage_full() -> StorageFullError:
    """Return the error that says so."""
    return StorageFullError(
        "The disk of this service is full. Delete slides or jobs that are no longer needed."
    )
