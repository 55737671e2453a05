"""Let several slides stand for the same bytes: ids by bytes, name and owner; files shared by hard links."""

import hashlib
import os
import shutil
from pathlib import Path

from .disk import require_space

BYTES_DIGITS = 12
"""Digits of an uploaded slide's id that are those of its sha256; the other 12 are of name and owner too."""


def reference_id(sha256: str, name: str, owner: str) -> str:
    """Return the id of the slide of these bytes, this name and this owner."""
    digest = hashlib.sha256(f"{sha256}\0{name}\0{owner}".encode()).hexdigest()
    return sha256[:BYTES_DIGITS] + digest[:12]


def link_or_copy(source: str | Path, target: str | Path) -> str:
    """Make `target` the same file as `source`, or a copy of it where the file system has no hard links.

    Raises:
        FileNotFoundError: when there is no `source`.
        StorageFullError: when a copy does not fit on the disk.
    """
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        require_space(Path(target).parent, Path(source).stat().st_size)
        shutil.copy2(source, target)
    return str(target)
