"""Remember, beside the results, which slide was labelled how, so that a command can go on where it ended."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from darefine.client import Preflight, Result
from darefine.client.sending import members_of
from wsi.atomic import write_atomically

SUFFIX = ".job.json"
"""End of the name of a record's file, after `<slide>.<model>`."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """State of the files of a slide on this machine: while it stays the same, they are not read again."""

    files: int
    bytes: int
    changed_ns: int

    @classmethod
    def of(cls, slide: Path) -> Self:
        """Look at a slide's files.

        Raises:
            OSError: when they cannot be looked at.
        """
        states = [file.stat() for file in members_of(slide)]
        return cls(
            len(states), sum(s.st_size for s in states), max((s.st_mtime_ns for s in states), default=0)
        )


@dataclass(frozen=True, slots=True)
class SlideRecord:
    """What was asked for one slide, and what became of it."""

    slide: str
    """Path as given."""
    fingerprint: Fingerprint
    content: str
    """The slide's sha256; of a slide read in place, its id, which is made of path, size and time."""
    model: str
    model_sha256: str
    parameters: dict[str, Any]
    job_id: str | None
    state: str
    """`submitted`, or the job's last state; `failed` too when there never was a job."""
    error: str = ""

    def asks_for(self, preflight: Preflight) -> bool:
        """Return whether the same weights and parameters were asked for; priority changes no label."""
        return (
            self.model_sha256 == preflight.model.sha256
            and self.model == preflight.model.name
            and self.parameters == label_parameters(preflight)
        )

    def save(self, file: Path) -> None:
        """Write the record, whole or not at all."""
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(asdict(self), indent=1).encode())

    @classmethod
    def load(cls, file: Path) -> "SlideRecord | None":
        """Read a record; None if there is none that this version can read."""
        try:
            return _RECORD.validate_json(file.read_bytes())
        except (OSError, ValidationError):
            return None


_RECORD = TypeAdapter(SlideRecord)


def label_parameters(preflight: Preflight) -> dict[str, Any]:
    """Return the parameters that labels depend on."""
    return {name: value for name, value in preflight.parameters.items() if name != "priority"}


def beside(stem: Path, name: str) -> Path:
    """Return the result file `name` of the slide whose files begin with `stem`."""
    return stem.with_name(f"{stem.name}.{name}")


def record_file(stem: Path) -> Path:
    """Return the file of the record of the slide whose files begin with `stem`."""
    return stem.with_name(stem.name + SUFFIX)


def load_result(stem: Path) -> Result | None:
    """Return the result that lies beside a record if all its files are there, by their size."""
    try:
        result = Result.model_validate_json(beside(stem, "result.json").read_bytes())
        whole = all(beside(stem, name).stat().st_size == facts.bytes for name, facts in result.files.items())
    except (OSError, ValidationError):
        return None
    return result if whole else None
