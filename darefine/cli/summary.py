"""Sum up the results in a folder as one table: a line a slide."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from darefine.client import Result
from darefine.slide_record import SUFFIX, SlideRecord, load_result
from wsi.atomic import write_atomically

FIRST = ("slide", "path", "state", "mpp", "mpp_source", "tissue_mm2")
LAST = ("warnings", "error", "job_id", "model", "model_sha256")


def write_summary(folder: Path) -> Path:
    """Write `summary.csv` of all results below `folder`: areas in mm², fractions of tissue; return its path.

    Classes of all models are columns; those that a slide's model does not have are empty.

    Raises:
        OSError: when it cannot be written.
    """
    rows = [row for file in sorted(folder.rglob(f"*{SUFFIX}")) if (row := row_of(file)) is not None]
    measures = dict.fromkeys(column for row in rows for column in row if column not in (*FIRST, *LAST))
    text = io.StringIO()
    table = csv.DictWriter(text, [*FIRST, *measures, *LAST], restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(sorted(rows, key=lambda row: (row["path"], row["model"])))
    path = folder / "summary.csv"
    write_atomically(path, text.getvalue().encode())
    return path


def row_of(file: Path) -> dict[str, Any] | None:
    """Return the line of one record; None if it cannot be read."""
    record = SlideRecord.load(file)
    if record is None:
        return None
    result = (
        load_result(file.with_name(file.name.removesuffix(SUFFIX))) if record.state == "succeeded" else None
    )
    return {
        "slide": Path(record.slide).name,
        "path": record.slide,
        "state": record.state,
        **(measures_of(result) if result else {}),
        "error": record.error,
        "job_id": record.job_id or "",
        "model": record.model,
        "model_sha256": record.model_sha256,
    }


def measures_of(result: Result) -> dict[str, Any]:
    """Return what a result says of its slide, by column."""
    return {
        "mpp": result.mpp.slide,
        "mpp_source": result.mpp.source or "",
        "tissue_mm2": round(sum(one.area_mm2 for one in result.classes), 6),
        **{f"{one.name} mm2": one.area_mm2 for one in result.classes},
        **{f"{one.name} fraction": one.fraction for one in result.classes},
        "warnings": "; ".join(one.code for one in result.warnings),
    }


def in_short(result: Result) -> str:
    """Return the measures of a result as one short text: tissue and the shares of the classes in it."""
    tissue = sum(one.area_mm2 for one in result.classes)
    shares = (f"{one.name} {one.fraction:.0%}" for one in ordered(result) if one.pixels)
    return ", ".join([f"{tissue:.2f} mm²", *shares])


def ordered(result: Result) -> Iterable[Any]:
    """Return the classes of a result, the largest first."""
    return sorted(result.classes, key=lambda one: -one.pixels)
