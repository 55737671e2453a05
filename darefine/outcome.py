"""Describe the outcome of one slide of a command that labels many."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from darefine.client import Job, Result


class End(StrEnum):
    """How a slide of a run ended."""

    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one slide."""

    slide: Path
    end: End
    stem: Path
    """What the names of its files begin with."""
    job: Job | None = None
    """The service's job, if there was one."""
    result: Result | None = None
    error: str = ""
