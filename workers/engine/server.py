"""Serve jobs in the engine process: load networks, run one pipeline at a time. Knows no Redis.

The main thread works; a second thread listens to the worker, so that a cancel or the worker's death is
noticed while a slide is read or a network runs.
"""

import logging
import os
import queue
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Generic, TypeVar

from wsi.die_with_parent import die_with_parent
from wsi.log_setup import configure_logging, logging_job

from ..errors import JobCancelledError
from ..jobs import Progress
from ..protocol import (
    Cancel,
    Clean,
    DeviceMemory,
    Failed,
    FromEngine,
    Identified,
    LoadFailed,
    ProgressMade,
    Ready,
    RunJob,
    Stopped,
    Succeeded,
    ToEngine,
    Written,
    to_bytes,
)
from ..settings import WorkerSettings
from .failures import expected, permanent, problem_of
from .faults import fault_of, fault_problem
from .full_disk import run_when_there_is_room
from .hooks import Hooks

logger = logging.getLogger(__name__)

NICENESS = 10
"""Niceness (CPU priority) of the engine, so that the API of the same machine answers while all cores compute.

Between sessions Linux shares the processor equally, whatever the niceness (autogroups, sched(7)); so the
supervisor keeps all its processes in its own session.
"""

ANSWER_S = 0.1
"""How often a cancel is looked for while an answer of the worker is waited for, in seconds."""

N = TypeVar("N")
Report = Callable[[Progress], None]
Cancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Engine(Generic[N]):
    """Parts of an engine process: its announcement, its networks and its pipeline."""

    ready: Ready
    """Message that says which models there are."""
    network: Callable[[RunJob], N]
    """Returns the network of a run."""
    pipeline: Callable[[RunJob, N, Report, Cancelled, Hooks], None]
    """Runs a job to its end."""
    memory: Callable[[], DeviceMemory | None] = lambda: None
    """Returns the memory of the GPU, None if there is none."""


def serve(
    pipe: Connection, worker_pid: int, settings: WorkerSettings, load: Callable[[WorkerSettings], Engine[N]]
) -> None:
    """Load the engine, say Ready, and run jobs until the worker says Shutdown or is gone.

    Ends with LoadFailed if `load` raises.
    """
    die_with_parent(worker_pid)()
    # Who stops a service signals its whole group; the worker decides what that means for the running job.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(NICENESS)
    configure_logging(settings.log_level, settings.log_format)
    worker = WorkerPipe(pipe)
    try:
        engine = load(settings)
    except Exception as error:
        if not expected(error):
            logger.exception("loading the model failed")
        worker.send(LoadFailed(problem_of(error), permanent(error)))
        return
    worker.send(engine.ready)
    while True:
        tell_memory(engine, worker)
        run = worker.next_run()
        with logging_job(run.job_id):
            worker.send(run_job(run, engine, worker))


def tell_memory(engine: Engine[N], worker: "WorkerPipe") -> None:
    """Tell the worker how full the GPU is: a network's allocator keeps what its last job needed most."""
    memory = engine.memory()
    if memory is not None:
        worker.send(memory)


def run_job(run: RunJob, engine: Engine[N], worker: "WorkerPipe") -> FromEngine:
    """Run one pipeline and return its outcome as a message, whatever happens.

    While the disk is full it waits.
    """
    logger.info("job %s, attempt %d: %r with %r", run.job_id, run.attempt, run.slide_name, run.model)
    hooks = Hooks(lambda identity: worker.send(Identified(identity)), worker.may_clean)
    try:
        network = engine.network(run)
        run_when_there_is_room(
            lambda report: engine.pipeline(run, network, report, worker.cancelled, hooks),
            Path(run.directory),
            lambda progress: worker.send(ProgressMade(progress)),
            worker.cancelled,
        )
    except JobCancelledError:
        return Stopped()
    except Exception as error:
        if worker.cancelled():
            return Stopped()
        fault = fault_of(error, run)
        if expected(error) or fault is not None:
            # Errors of slides name their file; the log calls it as the rest of the run does.
            told = str(error).replace(Path(run.slide_path).name, run.slide_name)
            logger.warning("job %s: %s", run.job_id, told)
            return Failed(fault_problem(error, run), suspect=False, fault=fault)
        logger.exception("job %s: unexpected error", run.job_id)
        return Failed(problem_of(error), suspect=True)
    return Succeeded()


class WorkerPipe:
    """Child's end of the pipe: sends from any thread, listens in a thread of its own."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._sending = threading.Lock()
        self._runs: queue.SimpleQueue[RunJob] = queue.SimpleQueue()
        self._running: str | None = None
        self._cancel = threading.Event()
        self._clean = threading.Event()
        threading.Thread(target=self._listen, name="listen", daemon=True).start()

    def send(self, message: FromEngine) -> None:
        """Send a message to the worker; end this process if the worker is gone."""
        try:
            with self._sending:
                self._pipe.send_bytes(to_bytes(message))
        except OSError:
            os._exit(1)

    def next_run(self) -> RunJob:
        """Wait for the next job and return it."""
        return self._runs.get()

    def may_clean(self) -> bool:
        """Ask whether the job that is finished is still this process's, and wait for the answer.

        A worker that has lost the job answers by ending this process.

        Raises:
            JobCancelledError: the job is cancelled.
        """
        self._clean.clear()
        self.send(Written())
        while not self._clean.wait(ANSWER_S):
            if self.cancelled():
                raise JobCancelledError
        return True

    def cancelled(self) -> bool:
        """Return whether the worker wants the running job stopped."""
        return self._cancel.is_set()

    def _listen(self) -> None:
        """Take the worker's messages off the pipe until it ends.

        Anything but a run, a cancel or an answer, the end of the pipe too, ends the process.
        """
        while True:
            try:
                message: ToEngine = self._pipe.recv()
            except (EOFError, OSError):
                os._exit(1)
            if isinstance(message, RunJob):
                self._running = message.job_id
                self._cancel.clear()
                self._runs.put(message)
            elif isinstance(message, Cancel):
                if message.job_id == self._running:
                    self._cancel.set()
            elif isinstance(message, Clean):
                if message.job_id == self._running:
                    self._clean.set()
            else:
                os._exit(0)
