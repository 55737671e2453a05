"""Find the slides that a command line names: files, folders that are one slide, folders of slides."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from workers.jobs import result_stem
from wsi.slide_folders import FoundSlide, slides_in_folder


class SameNameError(Exception):
    """Two slides would have results of the same name."""


def find_slides(paths: Iterable[Path], *, recursive: bool, leave_out: Path) -> tuple[FoundSlide, ...]:
    """Return the slides that `paths` name, in order, each once.

    A folder that holds DICOM files is one slide; any other folder stands for the slides in it, and with
    `recursive` for those in its folders. `leave_out` is a folder whose content is no slides: the results.
    """
    found: dict[Path, FoundSlide] = {}
    for path in paths:
        folder = slides_in_folder(path, recursive=recursive, leave_out=leave_out.resolve())
        slides = folder if path.is_dir() else [FoundSlide(path)]
        for slide in slides:
            found.setdefault(slide.path.absolute(), slide)
    return tuple(found.values())


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
