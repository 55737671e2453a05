"""Read which slides a batch is about, from a list, a folder or a CSV, without opening any."""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

from workers.batches import BatchEntry
from wsi.slide_folders import slides_in_folder
from wsi.stored_slides import SLIDE_ID

from ..batch_schemas import MOST_SLIDES, BatchCreate, BatchSlideIn
from ..errors import RequestInvalidError, RootNotAllowedError
from ..slides.roots import is_under, local_path

SLIDE_COLUMNS = ("slide", "path", "uri", "slide_id")
"""Names under which a CSV may have its column of slides, the first of those that are there."""


def entries_of(create: BatchCreate, roots: tuple[Path, ...]) -> tuple[BatchEntry, ...]:
    """Return the slides of a batch, in their order, each once.

    Raises:
        RequestInvalidError: when there is none, there are too many, or the CSV cannot be read.
        RootNotAllowedError: when the folder may not be read.
    """
    if create.folder is not None:
        found = in_folder(create.folder, roots, recursive=create.recursive)
    elif create.csv is not None:
        found = in_table(create.csv)
    else:
        found = (entry_of(slide) for slide in create.slides or ())
    entries = tuple(dict.fromkeys(found))
    if not entries:
        raise RequestInvalidError("There is no slide among what was sent.")
    if len(entries) > MOST_SLIDES:
        raise RequestInvalidError(f"A batch holds at most {MOST_SLIDES} slides; send several.")
    return entries


def entry_of(slide: str | BatchSlideIn) -> BatchEntry:
    """Return the entry of a slide that is given by path, URI or id."""
    if isinstance(slide, BatchSlideIn):
        return BatchEntry(slide.slide_id, slide.uri, slide.mpp)
    slide = slide.strip()
    return BatchEntry(slide_id=slide) if SLIDE_ID.fullmatch(slide) else BatchEntry(uri=slide)


def in_folder(folder: str, roots: tuple[Path, ...], *, recursive: bool) -> Iterator[BatchEntry]:
    """Yield the slides in a folder, by name.

    Raises:
        RootNotAllowedError: when the folder may not be read.
        RequestInvalidError: when it is none.
    """
    path = local_path(folder)
    if not is_under(path, roots):
        raise RootNotAllowedError(
            f"{folder} is not under a folder this service may read. Set DAREFINE_SLIDE_ROOTS."
        )
    try:
        for slide in slides_in_folder(path, recursive=recursive):
            yield BatchEntry(uri=str(slide.path))
    except OSError as error:
        raise RequestInvalidError(f"{folder} cannot be listed: {error.strerror}.") from error


def in_table(table: str) -> Iterator[BatchEntry]:
    """Yield the slides of a CSV; without one of SLIDE_COLUMNS in its first line, of its first column.

    Raises:
        RequestInvalidError: when a line cannot be read.
    """
    lines = csv.reader(io.StringIO(table.lstrip("\ufeff")))
    header: list[str] = []
    try:
        for number, cells in enumerate(lines):
            if number == 0 and any(cell.strip().lower() in SLIDE_COLUMNS for cell in cells):
                header = [cell.strip().lower() for cell in cells]
            elif any(cell.strip() for cell in cells):
                yield in_line(header, cells, lines.line_num)
    except csv.Error as error:
        raise RequestInvalidError(f"Line {lines.line_num} of the CSV cannot be read: {error}.") from error


def in_line(header: list[str], cells: list[str], number: int) -> BatchEntry:
    """Return the slide of one line.

    Raises:
        RequestInvalidError: when it names none, or its pixel size is no number that can be.
    """
    row = dict(zip(header or ["slide"], (cell.strip() for cell in cells), strict=False))
    name = first(row.get(column, "") for column in SLIDE_COLUMNS)
    if not name or len(name) > 4096:
        raise RequestInvalidError(f"Line {number} of the CSV names no slide; its column is called `slide`.")
    entry = entry_of(name)
    try:
        mpp = float(row["mpp"]) if row.get("mpp") else None
    except ValueError:
        mpp = -1.0
    if mpp is not None and not 0.05 <= mpp <= 5:
        raise RequestInvalidError(f"Line {number} of the CSV has an mpp of {row['mpp']!r}: send 0.05 to 5.")
    return BatchEntry(entry.slide_id, entry.uri, mpp)


def first(values: Iterable[str]) -> str:
    """Return the first value that is not empty."""
    return next((value for value in values if value), "")
