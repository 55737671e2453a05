"""The model process itself: loads networks, runs one pipeline at a time, knows no Redis.

The main thread works; a second thread listens to the worker, so that a cancel or the worker's death is noticed while a
slide is read or a network runs.
"""

import logging
import os
import queue
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Generic, TypeVar

from model.host import keep_freed_memory

from .errors import JobCancelledError
from .jobs import Progress
from .lifeline import lifeline
from .logs import configure_logging
from .messages import (
    Cancel,
    Failed,
    FromModel,
    LoadFailed,
    ProgressMade,
    Ready,
    RunJob,
    Stopped,
    Succeeded,
    ToModel,
)
from .problems import expected, problem_of
from .settings import WorkerSettings

if TYPE_CHECKING:
    from model.segmenter import Segmenter

logger = logging.getLogger(__name__)

N = TypeVar("N")
Report = Callable[[Progress], None]
Cancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Kit(Generic[N]):
    """What a model process serves jobs with: its announcement, networks by run, and the pipeline."""

    ready: Ready
    network: Callable[[RunJob], N]
    pipeline: Callable[[RunJob, N, Report, Cancelled], None]


def main(pipe: Connection, worker_pid: int, settings: WorkerSettings) -> None:
    """Entry of the spawned process."""
    serve(pipe, worker_pid, settings, load_kit)


def load_kit(settings: WorkerSettings) -> "Kit[Segmenter]":
    """The real kit: networks from the weights folder, the real pipeline. Imports torch."""
    keep_freed_memory()
    # Imported here so that the worker, which imports this module for `main`, stays free of torch.
    from .pipeline import run_pipeline  # noqa: PLC0415
    from .shelf import Shelf  # noqa: PLC0415

    shelf = Shelf.of(settings)
    return Kit(shelf.ready(), lambda run: shelf.get(run.model, run.parameters.precision), run_pipeline)


def serve(
    pipe: Connection, worker_pid: int, settings: WorkerSettings, load: Callable[[WorkerSettings], Kit[N]]
) -> None:
    """Load, say Ready, then run what the worker sends until it says Shutdown or is gone."""
    lifeline(worker_pid)()
    # Who stops a service signals its whole group; only the worker decides what that means for the running job.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    configure_logging(settings.log_level)
    line = Line(pipe)
    try:
        kit = load(settings)
    except Exception as error:
        logger.exception("loading the model failed")
        line.send(LoadFailed(problem_of(error)))
        return
    line.send(kit.ready)
    while True:
        line.send(run_job(line.next_run(), kit, line))


def run_job(run: RunJob, kit: Kit[N], line: "Line") -> FromModel:
    """Run one pipeline; its outcome as a message, whatever happens."""
    logger.info("job %s, attempt %d: %s with %s", run.job_id, run.attempt, run.slide_name, run.model)
    try:
        kit.pipeline(
            run, kit.network(run), lambda progress: line.send(ProgressMade(progress)), line.cancelled
        )
    except JobCancelledError:
        return Stopped()
    except Exception as error:
        if line.cancelled():
            return Stopped()
        if expected(error):
            logger.warning("job %s: %s", run.job_id, error)
            return Failed(problem_of(error), suspect=False)
        logger.exception("job %s: unexpected error", run.job_id)
        return Failed(problem_of(error), suspect=True)
    return Succeeded()


class Line:
    """The child's end of the pipe: sends from any thread, listens in a thread of its own."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._sending = threading.Lock()
        self._runs: queue.SimpleQueue[RunJob] = queue.SimpleQueue()
        self._running: str | None = None
        self._cancel = threading.Event()
        threading.Thread(target=self._listen, name="listen", daemon=True).start()

    def send(self, message: FromModel) -> None:
        """Send to the worker; ends the process if it is gone."""
        try:
            with self._sending:
                self._pipe.send(message)
        except OSError:
            os._exit(1)

    def next_run(self) -> RunJob:
        """Wait for the next job."""
        return self._runs.get()

    def cancelled(self) -> bool:
        """Whether the worker wants the running job stopped."""
        return self._cancel.is_set()

    def _listen(self) -> None:
        """Sort what the worker says. Anything but a run or a cancel, the end of the pipe too, ends the process."""
        while True:
            try:
                message: ToModel = self._pipe.recv()
            except (EOFError, OSError):
                os._exit(1)
            if isinstance(message, RunJob):
                self._running = message.job_id
                self._cancel.clear()
                self._runs.put(message)
            elif isinstance(message, Cancel):
                if message.job_id == self._running:
                    self._cancel.set()
            else:
                os._exit(0)
