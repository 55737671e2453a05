"""Find the file of a slide that the service stored, by its id: `slides/<id>/slide.json` says where it lies.

An uploaded slide lies beside its record, wherever the data folder is mounted; one registered in place has an
absolute path.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from .errors import SlideUnreadableError

SLIDE_ID = re.compile("[0-9a-f]{24}")
"""Form of a slide's id: nothing else ever becomes part of a path."""

RECORD = "slide.json"


def stored_slide_path(slides: Path, slide_id: str) -> Path:
    """Return the path of the slide with this id, looked up in the folder of all stored slides.

    Raises:
        SlideUnreadableError: there is none, or its record cannot be read.
    """
    if not SLIDE_ID.fullmatch(slide_id):
        raise SlideUnreadableError(f"{slide_id[:40]!r} is not the id of a slide. Submit the job again.")
    folder = slides / slide_id
    try:
        return path_of(folder, json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SlideUnreadableError(
            f"The slide {slide_id} is not in {slides} ({error}). It was deleted, or this machine does not "
            "see the folder in which the service keeps its slides."
        ) from error


def is_seen(folder: Path) -> bool:
    """Return whether a folder is there and holds anything: a mount point without its mount holds nothing."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def path_of(folder: Path, record: dict[str, Any]) -> Path:
    """Return the path of the slide whose record, as JSON values, lies in `folder`.

    Raises:
        ValueError: the path of an uploaded slide leads out of the folder.
    """
    path = Path(record["path"])
    if record["sha256"] is None:
        return path
    if path.is_absolute():
        # Version 0.1.0 wrote where the folder lay then.
        parts = path.parts
        path = Path(*parts[len(parts) - parts[::-1].index(folder.name) :])
    if ".." in path.parts:
        raise ValueError("the path leads out of the slide's folder")
    return folder / path


def path_in_record(folder: Path, path: Path, sha256: str | None) -> str:
    """Return the `path` member of the record that lies in `folder`: relative to it for an uploaded slide."""
    return str(path) if sha256 is None else path.relative_to(folder).as_posix()
