"""Jobs as values: states, requests, progress, records. Knows no Redis, so that every process may import it."""

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

Priority = Literal["normal", "high"]


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether a job in this state stays in it."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something failed, in the members of an RFC 9457 document; `type` is a kebab-case word."""

    type: str
    title: str
    detail: str


def problem_type(error: type[Exception]) -> str:
    """The `type` of an error's problem: `SlideNotFoundError` -> `slide-not-found`."""
    name = error.__name__.removesuffix("Error")
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: `fraction` of 0..1, finished and planned patches, speed in level-0 megapixels a second."""

    fraction: float = 0.0
    stage: str = "queued"
    patches_done: int = 0
    patches_total: int = 0
    megapixels_per_second: float | None = None
    eta_s: float | None = None


@dataclass(frozen=True, slots=True)
class JobParameters:
    """What a client chose: `mpp` in um per level-0 px, `halo_px` in label px; None leaves it to slide, card or settings."""

    mpp: float | None = None
    halo_px: int | None = None
    precision: str | None = None
    tissue: bool = True

    def to_json(self) -> dict[str, Any]:
        """The parameters as JSON members."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What to run: a slide on a path that every worker sees, and the name of a model."""

    slide_id: str
    slide_name: str
    slide_path: str
    model: str
    parameters: JobParameters = JobParameters()
    priority: Priority = "normal"

    def to_json(self) -> str:
        """The request as JSON text; equal requests give equal text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "JobRequest":
        """The inverse of `to_json`."""
        members = json.loads(text)
        return cls(**{**members, "parameters": JobParameters(**members["parameters"])})


@dataclass(frozen=True, slots=True)
class JobFiles:
    """Where a job keeps its files, inside its own directory."""

    directory: Path

    @property
    def overlay(self) -> Path:
        """The coloured pyramid for people."""
        return self.directory / "overlay.tif"

    @property
    def labels(self) -> Path:
        """The grey pyramid for programs."""
        return self.directory / "labels.tif"

    @property
    def result(self) -> Path:
        """The JSON that sums the job up."""
        return self.directory / "result.json"

    @property
    def plan(self) -> Path:
        """The patches to run, as JSON."""
        return self.directory / "plan.json"

    @property
    def tissue(self) -> Path:
        """The tissue mask, found once."""
        return self.directory / "tissue.npz"

    @property
    def patches(self) -> Path:
        """The folder of finished patches; gone once the pyramids are written."""
        return self.directory / "patches"


@dataclass(frozen=True, slots=True)
class Job:
    """One job's record. Times are unix seconds of the queue server's clock.

    `attempt` counts runs from 1 and fences them: a writer that holds an older number is refused. `crashes` counts the
    crashes since the last newly finished patch. `revision` grows with every change of the record.
    """

    id: str
    state: JobState
    request: JobRequest
    directory: str
    progress: Progress
    attempt: int
    crashes: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    worker: str | None
    cancel_requested: bool
    error: Problem | None
    revision: int

    @property
    def files(self) -> JobFiles:
        """The job's files."""
        return JobFiles(Path(self.directory))

    def to_hash(self) -> dict[str, str]:
        """The record as a flat Redis hash; what is None is absent."""
        fields: dict[str, str | None] = {
            "id": self.id,
            "state": self.state,
            "request": self.request.to_json(),
            "directory": self.directory,
            "progress": json.dumps(asdict(self.progress)),
            "attempt": str(self.attempt),
            "crashes": str(self.crashes),
            "created_at": repr(self.created_at),
            "started_at": None if self.started_at is None else repr(self.started_at),
            "finished_at": None if self.finished_at is None else repr(self.finished_at),
            "worker": self.worker,
            "cancel_requested": "1" if self.cancel_requested else None,
            "error": None if self.error is None else json.dumps(asdict(self.error)),
            "revision": str(self.revision),
        }
        return {name: value for name, value in fields.items() if value is not None}

    @classmethod
    def from_hash(cls, fields: Mapping[str, str]) -> "Job":
        """The inverse of `to_hash`; members it does not know are the queue's own and are ignored."""
        started, finished, error = (fields.get(name) for name in ("started_at", "finished_at", "error"))
        return cls(
            id=fields["id"],
            state=JobState(fields["state"]),
            request=JobRequest.from_json(fields["request"]),
            directory=fields["directory"],
            progress=Progress(**json.loads(fields["progress"])),
            attempt=int(fields["attempt"]),
            crashes=int(fields["crashes"]),
            created_at=float(fields["created_at"]),
            started_at=float(started) if started else None,
            finished_at=float(finished) if finished else None,
            worker=fields.get("worker"),
            cancel_requested="cancel_requested" in fields,
            error=Problem(**json.loads(error)) if error else None,
            revision=int(fields["revision"]),
        )


def new_job(request: JobRequest, jobs_root: Path) -> Job:
    """A queued job for `request` with a new id and the directory `jobs_root/<id>` (not created yet).

    Ids sort by time, to the millisecond, so that a listing by id is a listing by age.
    """
    job_id = f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"
    return Job(
        id=job_id,
        state=JobState.QUEUED,
        request=request,
        directory=str(jobs_root / job_id),
        progress=Progress(),
        attempt=1,
        crashes=0,
        created_at=time.time(),
        started_at=None,
        finished_at=None,
        worker=None,
        cancel_requested=False,
        error=None,
        revision=0,
    )
