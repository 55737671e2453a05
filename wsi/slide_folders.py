"""Find the slides in a folder, by their names."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SLIDE_SUFFIXES = {
    ".bif",
    ".czi",
    ".mrxs",
    ".ndpi",
    ".scn",
    ".svs",
    ".svslide",
    ".tif",
    ".tiff",
    ".vms",
    ".vmu",
}
"""Suffixes that are looked for in folders; a file that is named itself may have any."""

RESULT_SUFFIXES = (".overlay.tif", ".labels.tif", ".probabilities.tif")
"""Ends of files that this software writes beside slides; they are no slides."""


@dataclass(frozen=True, slots=True)
class FoundSlide:
    """A slide on this machine, and the folder below the results' folder that its results go to."""

    path: Path
    group: Path = Path()


def slides_in_folder(folder: Path, *, recursive: bool, leave_out: Path | None = None) -> Iterator[FoundSlide]:
    """Yield the slides in a folder, by name; a folder that holds DICOM files is one slide.

    `leave_out` is a resolved path of a folder that is not looked into.

    Raises:
        OSError: when the folder cannot be read.
    """
    if is_series(folder):
        yield FoundSlide(folder)
        return
    for place, folders, files in os.walk(folder):
        here = Path(place)
        group = here.relative_to(folder)
        yield from (FoundSlide(here / name, group) for name in sorted(files) if is_slide_name(name))
        inner = [name for name in sorted(folders) if not name.startswith(".") and name not in data_of(files)]
        inner = [name for name in inner if leave_out is None or (here / name).resolve() != leave_out]
        series = [name for name in inner if is_series(here / name)]
        yield from (FoundSlide(here / name, group) for name in series)
        folders[:] = [name for name in inner if name not in series] if recursive else []


def is_slide_name(name: str) -> bool:
    """Return whether a file in a folder is taken for a slide, by its name."""
    lower = name.lower()
    return (
        Path(lower).suffix in SLIDE_SUFFIXES
        and not name.startswith(".")
        and not lower.endswith(RESULT_SUFFIXES)
    )


def is_series(folder: Path) -> bool:
    """Return whether a folder holds DICOM files: it is one slide then."""
    return any(file.suffix.lower() == ".dcm" for file in folder.iterdir())


def data_of(files: Iterable[str]) -> set[str]:
    """Return the names of the folders in which MIRAX files keep their data."""
    return {Path(name).stem for name in files if name.lower().endswith(".mrxs")}
