"""Say when a worker ends by itself: after so many jobs, when nothing waits, or at a time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, TypeAdapter, with_config

from .jobs import STRICT


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class WorkLimits:
    """Limits of one worker process; without any it works until it is stopped.

    A worker that reaches one takes no further job, finishes the one that runs, and ends with exit code 0.
    """

    max_idle_s: Annotated[float | None, Field(ge=0)] = None
    """Seconds without a job, with the model loaded, after which it ends; 0: as soon as no job waits."""
    max_jobs: Annotated[int | None, Field(ge=1)] = None
    """Jobs after which it ends."""
    until: float | None = None
    """Unix seconds from which on it takes no job."""

    @property
    def is_endless(self) -> bool:
        """Whether the worker works until it is stopped."""
        return self == WorkLimits()

    def wait_s(self, now: float) -> int | None:
        """Return for how many whole seconds to wait for the next job from `now` (Unix seconds) on.

        0 is not at all, None for ever.
        """
        left = [self.max_idle_s, None if self.until is None else max(0.0, self.until - now)]
        known = [seconds for seconds in left if seconds is not None]
        return math.ceil(min(known)) if known else None

    def are_reached(self, now: float, jobs: int) -> bool:
        """Return whether no further job may be taken at `now`, in Unix seconds, after so many jobs."""
        return (self.until is not None and now >= self.until) or (
            self.max_jobs is not None and jobs >= self.max_jobs
        )

    def to_arguments(self) -> list[str]:
        """Return the command-line arguments of `python -m workers` that give these limits back."""
        return [] if self.is_endless else [_LIMITS.dump_json(self).decode()]

    @classmethod
    def of_arguments(cls, arguments: Sequence[str]) -> "WorkLimits":
        """Read the limits from what `to_arguments` returned."""
        return _LIMITS.validate_json(arguments[0]) if arguments else cls()


_LIMITS = TypeAdapter(WorkLimits)
