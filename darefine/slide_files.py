"""Find the slides that a command line names: files, folders that are one slide, folders of slides."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.jobs import result_stem

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
    """A slide on this machine, and the folder below --out that its results go to."""

    path: Path
    group: Path = Path()


class SameNameError(Exception):
    """Two slides would have results of the same name."""


def find_slides(paths: Iterable[Path], *, recursive: bool, leave_out: Path) -> tuple[FoundSlide, ...]:
    """Return the slides that `paths` name, in order, each once.

    A folder that holds DICOM files is one slide; any other folder stands for the slides in it, and with
    `recursive` for those in its folders. `leave_out` is a folder whose content is no slides: the results.
    """
    found: dict[Path, FoundSlide] = {}
    for path in paths:
        slides = in_folder(path, recursive, leave_out.resolve()) if path.is_dir() else [FoundSlide(path)]
        for slide in slides:
            found.setdefault(slide.path.absolute(), slide)
    return tuple(found.values())


def in_folder(folder: Path, recursive: bool, leave_out: Path) -> Iterator[FoundSlide]:
    """Yield the slides in a folder, by name."""
    if is_series(folder):
        yield FoundSlide(folder)
        return
    for place, folders, files in os.walk(folder):
        here = Path(place)
        group = here.relative_to(folder)
        yield from (FoundSlide(here / name, group) for name in sorted(files) if is_slide_name(name))
        inner = [name for name in sorted(folders) if not name.startswith(".") and name not in data_of(files)]
        inner = [name for name in inner if (here / name).resolve() != leave_out]
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


def result_names(slides: Sequence[FoundSlide], model: str) -> tuple[Path, ...]:
    """Return what the names of each slide's result files begin with, below --out.

    It is `<slide>.<model>`, with the slide's suffix where two would be called the same.

    Raises:
        SameNameError: when two still are.
    """
    short = [slide.group / result_stem(slide.path.resolve().name, model) for slide in slides]
    taken = Counter(short)
    names = tuple(
        name if taken[name] == 1 else slide.group / f"{slide.path.resolve().name}.{model}"
        for slide, name in zip(slides, short, strict=True)
    )
    for name, times in Counter(names).items():
        if times > 1:
            same = ", ".join(str(s.path) for s, own in zip(slides, names, strict=True) if own == name)
            raise SameNameError(
                f"The results of {same} would have the same names. Send them in calls of their own, each "
                "with another --out."
            )
    return names
