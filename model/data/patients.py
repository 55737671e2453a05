"""Read from CSV which patient a slide is of, and the set that it belongs to where that is stated."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import CohortError
from .shapes import listed
from .splits import Split

SETS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class PatientTable:
    """Contents of a CSV for the slides of a cohort, by slide name without ending."""

    patients: Mapping[str, str]
    split: Split | None
    """Sets that it states; None: it has no column `set`."""
    unknown: tuple[str, ...]
    """Slides that it names and the cohort lacks."""


def read_patients(path: Path, names: Sequence[str]) -> PatientTable:
    """Read the columns `slide` and `patient`, and `set` (train, validation, test) where there is one.

    Slides are named with or without their endings. Commas, semicolons and tabs part columns. Without a column
    `patient` each slide is of a patient of its own.

    Raises:
        CohortError: It cannot be read, lacks a column or a slide, or puts a patient into two sets.
    """
    rows = _rows(path)
    by_slide: dict[str, Mapping[str, str]] = {}
    unknown = []
    for row in rows:
        stated = row["slide"]
        name = stated if stated in names else Path(stated).stem
        if name not in names:
            unknown.append(stated)
        elif by_slide.setdefault(name, row) is not row:
            raise CohortError(f"{path.name} has {name} twice; leave one line")
    if missing := [name for name in names if name not in by_slide]:
        raise CohortError(
            f"{path.name} has no line for {listed(missing)}. Add them, or move the slides away."
        )
    patients = {name: by_slide[name].get("patient") or name for name in names}
    split = _split(path.name, by_slide, patients) if "set" in rows[0] else None
    return PatientTable(patients, split, tuple(unknown))


def _rows(path: Path) -> list[dict[str, str]]:
    """Return the lines by column, in lower case and without blanks around them.

    Raises:
        CohortError: It cannot be read, is empty, or has no column `slide`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CohortError(f"{path} cannot be read ({error}). Save it as CSV in UTF-8.") from error
    first = text.partition("\n")[0]
    parting = max(",;\t", key=first.count)
    lines = [row for row in csv.reader(text.splitlines(), delimiter=parting) if any(map(str.strip, row))]
    header = [cell.strip().casefold() for cell in lines[0]] if lines else []
    if "slide" not in header or len(lines) < 2:
        raise CohortError(
            f'{path.name} begins with "{first.strip()}". Give it a first line "slide,patient" or '
            '"slide,patient,set", and a line for each slide.'
        )
    return [{name: cell.strip() for name, cell in zip(header, row, strict=False)} for row in lines[1:]]


def _split(file: str, rows: Mapping[str, Mapping[str, str]], patients: Mapping[str, str]) -> Split:
    """Return the sets that are stated.

    Raises:
        CohortError: A set is none, is empty, or a patient is in two.
    """
    stated = {name: row.get("set", "").casefold() for name, row in rows.items()}
    if odd := [name for name, where in stated.items() if where not in SETS]:
        raise CohortError(f"{file} puts {listed(odd)} into no set; write train, validation or test")
    where: dict[str, str] = {}
    for name in sorted(stated):
        if where.setdefault(patients[name], stated[name]) != stated[name]:
            raise CohortError(f"{file} has patient {patients[name]} in two sets; scores would mean nothing")
    sets = [tuple(sorted(name for name in stated if stated[name] == one)) for one in SETS]
    if not sets[0] or not sets[1]:
        raise CohortError(f"{file} needs slides in the sets train and validation")
    return Split(*sets)
