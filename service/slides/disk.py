"""Refuse writes that would fill the disk."""

import shutil
from pathlib import Path

from ..errors import StorageFullError

DISK_RESERVE = 10**9
"""Bytes left free on the disk whatever is uploaded, so that running jobs can finish."""


def require_space(folder: Path, needed: int) -> None:
    """Check that `needed` more bytes fit on the disk of `folder` besides the reserve.

    Raises:
        StorageFullError: when they do not.
    """
    if needed + DISK_RESERVE > shutil.disk_usage(folder).free:
        raise StorageFullError(
            "The disk of this service is full. Delete slides or jobs that are no longer needed."
        )
