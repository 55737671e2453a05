"""Bring a slide near before it is read: ask the system to hold its files in memory."""

import os
from collections.abc import Iterator
from pathlib import Path

SHARE_OF_MEMORY = 0.25
"""Share of the memory that is free for which a slide is brought near; the rest is for the job that runs."""

MIRAX = ".mrxs"


def bring_near(slide: Path, *, most_bytes: int | None = None) -> int:
    """Ask the system to read the files of a slide into its cache; return for how many bytes it was asked.

    From a network's disk that takes most of the waiting out of the job to come. The system reads in the
    background and forgets again when memory is wanted. `most_bytes` is by default SHARE_OF_MEMORY of what is
    free; a larger file is brought near up to there. Does nothing where the system has no such call.

    Raises:
        OSError: A file cannot be opened.
    """
    if not hasattr(os, "posix_fadvise"):
        return 0
    left = most_bytes if most_bytes is not None else int(SHARE_OF_MEMORY * _free_bytes())
    asked = 0
    for path in files_of(slide):
        length = min(path.stat().st_size, left - asked)
        if length <= 0:
            break
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, length, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)
        asked += length
    return asked


def files_of(slide: Path) -> Iterator[Path]:
    """Yield the files of a slide: those of a folder, a MIRAX file and its folder's, or the one file."""
    folder = slide if slide.is_dir() else slide.with_suffix("")
    if not slide.is_dir():
        yield slide
    if slide.is_dir() or (slide.suffix.lower() == MIRAX and folder.is_dir()):
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file())


def _free_bytes() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
