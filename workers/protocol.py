"""What a worker and its model process say to each other, through a pipe."""

import json
from dataclasses import asdict, dataclass
from typing import Self

from .jobs import Job, JobParameters, Problem, Progress

# From worker to model process


@dataclass(frozen=True, slots=True)
class RunJob:
    """Run the pipeline; exactly one of Succeeded, Stopped and Failed is the answer."""

    job_id: str
    attempt: int
    slide_name: str
    slide_path: str
    directory: str
    model: str
    parameters: JobParameters

    @classmethod
    def of(cls, job: Job, attempt: int) -> Self:
        """What attempt number `attempt` of a job is to do."""
        request = job.request
        return cls(
            job_id=job.id,
            attempt=attempt,
            slide_name=request.slide_name,
            slide_path=request.slide_path,
            directory=job.directory,
            model=request.model,
            parameters=request.parameters,
        )

    def to_json(self) -> str:
        """The message as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        members = json.loads(text)
        return cls(**{**members, "parameters": JobParameters(**members["parameters"])})


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop this job soon; nothing happens if it is not the one that runs."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Shutdown:
    """End now."""


# From model process to worker


@dataclass(frozen=True, slots=True)
class Ready:
    """The default model is loaded. `cards` are model cards as JSON text, in file name order."""

    device: str
    dtype: str
    default_model: str
    cards: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The default model cannot be loaded; the process ends."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class ProgressMade:
    """The running job got on."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The result files are in the job's directory."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The job stopped because of Cancel."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The job did not succeed. Trying again would fail the same way, unless the error is `suspect`.

    `suspect` says that nobody expected the error: the disk was full, a GPU broke down, a network folder hung. The
    process itself may be spoilt (a CUDA error sticks), so this counts as a crash: a new process tries again.
    """

    problem: Problem
    suspect: bool


ToModel = RunJob | Cancel | Shutdown
FromModel = Ready | LoadFailed | ProgressMade | Succeeded | Stopped | Failed
