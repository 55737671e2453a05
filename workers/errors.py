"""Define the errors that this room raises on purpose.

WorkersError
├── JobNotFoundError            no record has this id
├── JobFinalError               the job is over, so it cannot be cancelled
├── BatchNotFoundError          no batch has this id
├── BatchFinalError             the batch is over
├── WebhookNotFoundError        no webhook has this id
├── IdempotencyConflictError    an idempotency key came back with another request
├── RecordInvalidError          a record or message is not of the form that this version reads
├── QueueUnavailableError       no queue server can be started or reached
├── SupervisorRunningError      another supervisor works on this data folder
├── ForbiddenTaskError          the queue names a function that workers do not run
├── SandboxUnavailableError     settings demand a sandbox that this machine cannot give
├── EngineDiedError             the engine process ended while it was needed
├── ModelUnknownError           no card of this name lies in the weights folder
├── WeightsMissingError         the weights folder holds no usable card
├── OutsideSandboxError         the slide lies where the sandbox of the engine does not let it read
├── JobCancelledError           the pipeline stopped because it was told to
├── LocalRunError               a job that runs without a service did not succeed
├── BenchFailedError            what was to be measured did not run
└── NotEnoughDiskError          what the job may write does not fit on the disk
"""

from pathlib import Path
from typing import Self

from wsi.errors import SlideUnreadableError


class WorkersError(Exception):
    """Base of every error this room raises on purpose."""


class JobNotFoundError(WorkersError, LookupError):
    """No job has this id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"No job has the id {job_id!r}; it was deleted or never existed. List jobs to see those that do."
        )
        self.job_id = job_id


class JobFinalError(WorkersError):
    """The job is over."""

    def __init__(self, job_id: str, state: str) -> None:
        super().__init__(
            f"Job {job_id} is already {state}, so it cannot be cancelled. Delete it to remove its files."
        )
        self.job_id = job_id
        self.state = state


class BatchNotFoundError(WorkersError, LookupError):
    """No batch has this id."""

    def __init__(self, batch_id: str) -> None:
        super().__init__(f"No batch has the id {batch_id!r}; GET /v1/batches lists those there are.")
        self.batch_id = batch_id


class BatchFinalError(WorkersError):
    """The batch is over."""

    def __init__(self, batch_id: str, state: str) -> None:
        super().__init__(f"Batch {batch_id} is already {state}. Send its slides as a new batch.")
        self.batch_id = batch_id


class WebhookNotFoundError(WorkersError, LookupError):
    """No webhook has this id."""

    def __init__(self, webhook_id: str) -> None:
        super().__init__(f"No webhook has the id {webhook_id!r}; GET /v1/webhooks lists those there are.")


class IdempotencyConflictError(WorkersError):
    """An idempotency key was used again for another request."""

    def __init__(self, key: str, job_id: str) -> None:
        super().__init__(
            f"Idempotency key {key!r} already stands for job {job_id}, which was made from another request. "
            "Use a new key for a new request."
        )
        self.key = key
        self.job_id = job_id


class RecordInvalidError(WorkersError):
    """A record or message is not of the form that this version reads."""

    @classmethod
    def of(cls, what: str, error: Exception) -> Self:
        """Return the error that says that `what` cannot be read because of `error`."""
        return cls(
            f"{what} cannot be read: {error}. Another version or another program wrote it; "
            "run one version of the service in all processes."
        )


class QueueUnavailableError(WorkersError):
    """No queue server can be started or reached."""

    @classmethod
    def at(cls, directory: Path, error: OSError) -> Self:
        """Return the error that says that the embedded queue cannot use `directory`."""
        return cls(
            f"The embedded queue cannot use {directory}: {error}. Set DAREFINE_DATA_DIR to a folder that you "
            "may write, or DAREFINE_REDIS_URL to a queue of your own."
        )


class SupervisorRunningError(WorkersError):
    """Another supervisor works on this data folder."""

    def __init__(self, data_dir: Path, *, pid: str) -> None:
        super().__init__(
            f"Process {pid or 'unknown'} serves {data_dir} already. Stop it first, or set DAREFINE_DATA_DIR "
            "to another folder; more workers come with DAREFINE_WORKERS, or from anywhere with a "
            "DAREFINE_REDIS_URL that all share."
        )


class ForbiddenTaskError(WorkersError):
    """The queue names a function that workers do not run."""


class SandboxUnavailableError(WorkersError):
    """This machine cannot confine the process that decodes slides."""


class EngineDiedError(WorkersError):
    """The engine process ended while it was needed."""


class ModelUnknownError(WorkersError, LookupError):
    """No card of this name lies in the weights folder."""


class WeightsMissingError(WorkersError):
    """The weights folder holds no usable model card."""


class OutsideSandboxError(WorkersError, SlideUnreadableError):
    """The slide lies in a folder that this worker's sandbox does not open."""


class JobCancelledError(WorkersError):
    """The pipeline stopped because it was told to."""


class LocalRunError(WorkersError):
    """A job that runs without a service did not succeed; the message says why."""


class BenchFailedError(WorkersError):
    """The measured job did not run; the message is that of the job."""


class NotEnoughDiskError(WorkersError):
    """What the job may write does not fit on the disk."""

    def __init__(self, *, needed: int, free: int, directory: Path) -> None:
        super().__init__(
            f"The job may need {needed / 1e9:.2f} GB but only {free / 1e9:.2f} GB are free at {directory}. "
            "Delete finished jobs or slides."
        )
        self.needed = needed
