"""Define batches as values: many slides with the same options, and one state.

Knows no Redis, so that every process may import it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from pydantic import Field, with_config

from .jobs import STRICT, JobState


class BatchState(StrEnum):
    """State of a batch."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    FINISHED = "finished"

    @property
    def is_final(self) -> bool:
        """Whether a batch in this state stays in it."""
        return self in (BatchState.CANCELLED, BatchState.FINISHED)


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class BatchEntry:
    """One slide of a batch: the id of a stored one, or a path or URI to register when its turn comes."""

    slide_id: str | None = None
    uri: str | None = None
    mpp: Annotated[float | None, Field(gt=0)] = None
    """Of this slide, um per level-0 px; None: that of the batch, or what the slide says."""

    @property
    def name(self) -> str:
        """What the entry is called before its slide is known."""
        return self.uri or self.slide_id or ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Record of one batch. Times are Unix seconds of the queue server's clock."""

    id: str
    name: str
    owner: str
    """Id of the key that sent it; empty for users of the service's own machine."""
    model: str
    options: str
    """Options of its jobs, as JSON text that the API writes and reads."""
    state: BatchState
    total: int
    """Slides in all."""
    begun: int
    """Slides that have become jobs, or could not."""
    created_at: float
    finished_at: float | None
    ended: Mapping[JobState, int] = field(default_factory=dict)
    """Slides that are over, by how they ended; one that could not become a job has failed."""
    live: tuple[int, ...] = ()
    """Indices of the slides whose jobs are not over, as far as is known."""


@dataclass(frozen=True, slots=True)
class BatchSlide:
    """What has become of one slide of a batch."""

    index: int
    entry: BatchEntry
    job_id: str | None
    refused: str | None
    """Why it could not become a job."""
