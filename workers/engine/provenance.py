"""Describe what results are made of as JSON values: this software, the slide on disk. Imports no torch."""

import hashlib
import platform
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from wsi.reading.slide_info import SlideInfo

SAMPLE_ENDS = 1 << 20
SAMPLES = 16
SAMPLE_BYTES = 4096
"""Bytes at both ends of a file, places in between and bytes at each that a fingerprint is made of."""


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


def slide_identity(path: Path, info: SlideInfo, sha256: str | None) -> dict[str, Any]:
    """Return what identifies the slide at `path`: `info`, with an override of its mpp, and its bytes.

    Of a slide that was uploaded that is its sha256, else a fingerprint of its files. No time is part of it:
    a copy on another host is the same slide.

    Raises:
        OSError: The file cannot be read.
    """
    return {**info.to_json(), "content": sha256 or fingerprint(path)}


def fingerprint(path: Path) -> str:
    """Return the sha256 of the sizes of a slide's files and of samples of their bytes.

    Of each file the first and last MB and 16 places between are read: a slide that was scanned or written
    anew differs there, for its tiles have other lengths.

    Raises:
        OSError: A file cannot be read.
    """
    digest = hashlib.sha256()
    for member in _members(path):
        size = member.stat().st_size
        digest.update(f"{member.name}\0{size}\0".encode(errors="surrogateescape"))
        with member.open("rb") as file:
            digest.update(file.read(SAMPLE_ENDS))
            for number in range(1, SAMPLES + 1):
                file.seek(size * number // (SAMPLES + 1))
                digest.update(file.read(SAMPLE_BYTES))
            file.seek(max(0, size - SAMPLE_ENDS))
            digest.update(file.read(SAMPLE_ENDS))
    return digest.hexdigest()


def _members(path: Path) -> list[Path]:
    """Return the files of a slide: itself, with a MIRAX file its data folder, or those of a folder."""
    folder = path if path.is_dir() else path.with_suffix("")
    of_folder = path.is_dir() or (path.suffix.lower() == ".mrxs" and folder.is_dir())
    others = sorted(one for one in folder.rglob("*") if one.is_file()) if of_folder else []
    return [path, *others] if path.is_file() else others
