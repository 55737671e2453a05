"""What results are made of, as JSON values: this software, and the slide as it lies on disk. Imports no torch."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from wsi.reading.slide_info import SlideInfo


def software() -> str:
    """Name and version of this software, as it stands in every result."""
    return f"darefine {version('darefine')}"


def slide_identity(path: Path, info: SlideInfo) -> dict[str, Any]:
    """What `info` says of the slide at `path`, an override of its mpp too, and the state of the file. Raises OSError."""
    status = path.stat()
    return {**info.to_json(), "bytes": status.st_size, "changed_ns": status.st_mtime_ns}
