"""Define the one function that RQ jobs name."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from .job_run import WorkerContext

_context: ContextVar[WorkerContext] = ContextVar("worker_context")


@contextmanager
def worker_context(context: WorkerContext) -> Iterator[None]:
    """Let the task that runs inside find its worker."""
    token = _context.set(context)
    try:
        yield
    finally:
        _context.reset(token)


def run_job(job_id: str, attempt: int) -> str:
    """Run an attempt of a job in the worker's engine process; return how it ended, for RQ's records only.

    Raises:
        LookupError: the caller is not inside `worker_context`.
    """
    return _context.get().run(job_id, attempt).value
