"""What a worker and its model process say to each other, through a pipe."""

from dataclasses import dataclass

from .jobs import JobParameters, Problem, Progress

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

    `suspect` says that nobody expected the error: the disk or the GPU's memory was full, a network folder hung. The
    process itself may be spoilt (a CUDA error sticks), so this counts as a crash: a new process tries again.
    """

    problem: Problem
    suspect: bool


ToModel = RunJob | Cancel | Shutdown
FromModel = Ready | LoadFailed | ProgressMade | Succeeded | Stopped | Failed
