"""Describe what results are made of as JSON values: this software, the slide on disk. Imports no torch."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from wsi.reading.slide_info import SlideInfo


def software() -> str:
    """Return name and version of this software, as they stand in every result."""
    return f"darefine {version('darefine')}"


def slide_identity(path: Path, info: SlideInfo) -> dict[str, Any]:
    """Return what identifies the slide at `path`: `info`, with an override of its mpp, and the file's state.

    Raises:
        OSError: The file cannot be looked at.
    """
    status = path.stat()
    return {**info.to_json(), "bytes": status.st_size, "changed_ns": status.st_mtime_ns}
