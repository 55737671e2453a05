"""Define the messages between a worker and its engine process, sent through a pipe."""

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self, get_args

from pydantic import TypeAdapter, ValidationError, with_config

from .errors import RecordInvalidError
from .identity import LabelIdentity
from .jobs import ADDED, STRICT, Job, JobParameters, Problem, Progress

# From worker to engine process


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class RunJob:
    """Run the pipeline; exactly one of Succeeded, Stopped and Failed is the last answer."""

    job_id: str
    attempt: int
    slide_name: str
    slide_path: str
    directory: str
    model: str
    parameters: JobParameters
    slide_sha256: Annotated[str | None, ADDED] = None
    pinned: Annotated[LabelIdentity | None, ADDED] = None
    """What made the labels of the job's first start; this run is to make them the same way if it can."""

    @classmethod
    def of(
        cls, job: Job, attempt: int, slide: Path, *, named: bool, pinned: LabelIdentity | None = None
    ) -> Self:
        """Return the message that runs attempt number `attempt` of a job on the slide at a path.

        Unless it is `named` the slide goes by its id, in result and log.
        """
        request = job.request
        return cls(
            job_id=job.id,
            attempt=attempt,
            slide_name=request.slide_name if named else request.slide_id,
            slide_path=str(slide),
            directory=job.directory,
            model=request.model,
            parameters=request.parameters,
            slide_sha256=request.slide_sha256,
            pinned=pinned,
        )

    def to_json(self) -> str:
        """Return the message as JSON text."""
        return json.dumps(_RUN_JOB.dump_python(self, mode="json"))

    @classmethod
    def from_json(cls, text: str) -> "RunJob":
        """Read a message from JSON text.

        Raises:
            RecordInvalidError: the text is no JSON, or a member is missing, unknown or of another type.
        """
        try:
            return _RUN_JOB.validate_json(text)
        except ValidationError as error:
            raise RecordInvalidError.of("The message RunJob", error) from error


_RUN_JOB = TypeAdapter(RunJob)


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop this job soon; nothing happens if it is not the one that runs."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Clean:
    """Yes: remove what the finished job does not need any more."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Shutdown:
    """End now."""


# From engine process to worker


@dataclass(frozen=True, slots=True)
class Ready:
    """The default model is loaded. `cards` are model cards as JSON text, in file name order."""

    device: str
    dtype: str
    default_model: str
    cards: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The default model cannot be loaded; the process ends.

    `permanent` says that a new process will fail the same way: this machine lacks the device or precision
    that the settings name. Weights that are missing may still come.
    """

    problem: Problem
    permanent: bool


@dataclass(frozen=True, slots=True)
class ProgressMade:
    """The running job made progress."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Bytes of the GPU's memory, all processes together; sent once the model is loaded and after each job."""

    used: int
    total: int


@dataclass(frozen=True, slots=True)
class Identified:
    """The running job has looked at its slide: this is what its labels depend on."""

    identity: LabelIdentity


@dataclass(frozen=True, slots=True)
class Written:
    """The result files are in the job's directory. May what is left of the work be removed?

    Only Clean says so: another attempt may be at work there if this one has lost its lease.
    """


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The result files are in the job's directory, and nothing else."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The job stopped because of Cancel."""


class Fault(StrEnum):
    """Where the fault of a job that did not succeed may lie, other than with the job."""

    HOST = "host"
    """This host can run no job like it: no mount, no weights, no right to write."""
    SLIDE = "slide"
    """This host does not see the slide, or may not read it; it may be the slide's fault."""
    UNFIT = "unfit"
    """The job asks for what only other hosts have: a device, a model, a package."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The job did not succeed. Trying again would fail the same way, unless the error is `suspect`.

    With a `fault` trying again elsewhere may succeed.

    `suspect` says that nobody expected the error: a GPU broke down, a network folder hung.
    The process itself may be spoilt (a CUDA error sticks), so this counts as a crash: a new process tries
    again.
    """

    problem: Problem
    suspect: bool
    fault: Fault | None = None


ToEngine = RunJob | Cancel | Clean | Shutdown
FromEngine = (
    Ready | LoadFailed | ProgressMade | DeviceMemory | Identified | Written | Succeeded | Stopped | Failed
)

_FROM_ENGINE = {kind.__name__: TypeAdapter(kind) for kind in get_args(FromEngine)}


def to_bytes(message: FromEngine) -> bytes:
    """Return a message of the engine as JSON: its type's name and its members."""
    kind = type(message).__name__
    return json.dumps([kind, _FROM_ENGINE[kind].dump_python(message, mode="json")]).encode()


def from_bytes(data: bytes) -> FromEngine:
    """Read a message of the engine, which decodes untrusted slides: never by pickle, which runs code.

    Raises:
        RecordInvalidError: it is no message.
    """
    try:
        kind, members = json.loads(data)
        message: FromEngine = _FROM_ENGINE[kind].validate_json(json.dumps(members))
    except (ValueError, KeyError, TypeError) as error:
        raise RecordInvalidError.of("The message of the engine process", error) from error
    return message
