"""The one function that RQ jobs name."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from .job_run import WorkerContext

_workplace: ContextVar[WorkerContext] = ContextVar("workplace")


@contextmanager
def working_at(workplace: WorkerContext) -> Iterator[None]:
    """Lend `workplace` to the task that runs inside."""
    token = _workplace.set(workplace)
    try:
        yield
    finally:
        _workplace.reset(token)


def run_job(job_id: str, attempt: int) -> str:
    """Run an attempt of a job in the worker's model process; how that ended is for RQ's records only.

    Raises LookupError outside a worker.
    """
    return _workplace.get().run(job_id, attempt).value
