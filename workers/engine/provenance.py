"""Describe what results are made of as JSON values: this software, the slide on disk. Imports no torch."""

import platform
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from wsi.reading.slide_info import SlideInfo


def software() -> str:
    """Return name and version of this software, as they stand in every result."""
    return f"darefine {version('darefine')}"


def versions() -> dict[str, str]:
    """Return the versions of what labels and files may depend on, by name; of extras where installed."""
    names = (
        "darefine",
        "torch",
        "numpy",
        "opencv-python-headless",
        "openslide-bin",
        "simplejpeg",
        "pillow",
        "tifffile",
        "rasterio",
        "shapely",
    )
    extras = tuple(name for name in ("highdicom", "openvino", "zarr") if find_spec(name) is not None)
    return {"python": platform.python_version(), **{name: version(name) for name in names + extras}}


def slide_identity(path: Path, info: SlideInfo) -> dict[str, Any]:
    """Return what identifies the slide at `path`: `info`, with an override of its mpp, and the file's state.

    Raises:
        OSError: The file cannot be looked at.
    """
    status = path.stat()
    return {**info.to_json(), "bytes": status.st_size, "changed_ns": status.st_mtime_ns}
