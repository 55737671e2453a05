"""Start, hear and replace the engine process.

That is one spawned child that keeps networks in memory and runs pipelines.
"""

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pkgutil import resolve_name

from ..errors import EngineDiedError, RecordInvalidError
from ..jobs import Problem
from ..protocol import DeviceMemory, FromEngine, LoadFailed, Ready, Shutdown, ToEngine, from_bytes
from ..settings import WorkerSettings

logger = logging.getLogger(__name__)

Target = Callable[[Connection, int, WorkerSettings], None]
"""Entry of the child, called with its end of the pipe, the worker's process id and settings; picklable."""


def entry_named(name: str, *arguments: object) -> Target:
    """Return the entry `module:function`, called with `arguments` before the pipe.

    The child alone imports the module.
    """
    return partial(_call_by_name, name, arguments)


def _call_by_name(
    name: str, arguments: tuple[object, ...], pipe: Connection, worker_pid: int, settings: WorkerSettings
) -> None:
    resolve_name(name)(*arguments, pipe, worker_pid, settings)


ENGINE = entry_named("workers.engine.main:main")
"""The real engine. By name, for the worker has no torch."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""Pauses between tries to load a model that cannot be loaded."""

MOST_BYTES = 64 * 2**20
"""Bytes of the longest message of a child: the cards of all models."""

STOP_S = 2.0
"""How long a child that was told to end may take, in seconds."""


class EngineState(StrEnum):
    """State of the engine process: only a READY one takes jobs, a FAILED one is tried again."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    MISCONFIGURED = "misconfigured"
    """Its settings are for another machine."""


class EngineProcess:
    """Worker's end of the engine process: starts, hears, stops and replaces it.

    Use it from the main thread (see `wsi.die_with_parent`).
    """

    def __init__(self, target: Target, settings: WorkerSettings) -> None:
        """`target` is ENGINE unless a test or a benchmark stands in for it."""
        self._target = target
        self._settings = settings
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._failures = 0
        self._retry_at = 0.0
        self.state = EngineState.STARTING
        self.ready: Ready | None = None
        self.problem: Problem | None = None
        self.memory: DeviceMemory | None = None
        self.load_s: float | None = None
        """Seconds that the child took until its model was loaded; None before."""
        self._started_at = 0.0

    @property
    def pid(self) -> int | None:
        """Process id of the child, None while there is none."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Spawn a child, killing the one before. It is READY once its message says so."""
        self.kill()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=self._target, args=(theirs, os.getpid(), self._settings), name="engine", daemon=True
        )
        self._process.start()
        # Ours alone may hold the other end, or a dead child would not read as end of file.
        theirs.close()
        self.state, self.memory, self.load_s = EngineState.STARTING, None, None
        self._started_at = time.monotonic()

    def send(self, message: ToEngine) -> None:
        """Send a message to the child.

        Raises:
            EngineDiedError: the child is gone or was never started.
        """
        try:
            self._connection().send(message)
        except OSError as error:
            raise self._death() from error

    def receive(self, timeout_s: float) -> FromEngine | None:
        """Return the next message within `timeout_s` seconds, or None.

        Ready, LoadFailed and a death while the model loads set `state`.

        Raises:
            EngineDiedError: a child with a loaded model is gone, and all it sent before is read.
        """
        pipe = self._connection()
        assert self._process is not None
        if not wait([pipe, self._process.sentinel], timeout_s):
            return None
        try:
            # Messages sent just before a death are read first; the end of the pipe comes after them.
            message = from_bytes(pipe.recv_bytes(MOST_BYTES))
        except (EOFError, OSError, RecordInvalidError) as error:
            death = self._death()
            if self.state is EngineState.STARTING:
                self._fail(
                    Problem(
                        "model-process-died", "The model process ended while loading its model", str(death)
                    )
                )
                return None
            raise death from error
        self._note(message)
        return message

    def poll(self, timeout_s: float) -> None:
        """Hear the child for `timeout_s` seconds, and replace it if it is gone; only while no job runs.

        A model that could not be loaded is tried again after a pause that doubles up to a minute; `problem`
        says why.
        """
        if self.state is EngineState.MISCONFIGURED:
            return
        if self.state is EngineState.FAILED:
            pause = self._retry_at - time.monotonic()
            if pause > 0:
                time.sleep(min(pause, timeout_s))
                return
            self.start()
        try:
            self.receive(timeout_s)
        except EngineDiedError as error:
            logger.warning("%s", error)
            self.start()

    def kill(self) -> None:
        """End the child at once; frees its memory, and the GPU's."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = None
        if self._pipe is not None:
            self._pipe.close()
        self._pipe = None

    def stop(self) -> None:
        """Ask the child to end, then kill it."""
        if self._process is not None:
            try:
                self.send(Shutdown())
                self._process.join(STOP_S)
            except EngineDiedError:
                logger.debug("the engine process was gone already")
        self.kill()

    def _connection(self) -> Connection:
        if self._pipe is None:
            raise EngineDiedError("The engine process has not been started.")
        return self._pipe

    def _note(self, message: FromEngine) -> None:
        if isinstance(message, Ready):
            self.state, self.ready, self.problem, self._failures = EngineState.READY, message, None, 0
            self.load_s = time.monotonic() - self._started_at
            logger.info(
                "engine process %s ready: %s on %s (%s)",
                self.pid,
                message.default_model,
                message.device,
                message.dtype,
            )
        elif isinstance(message, DeviceMemory):
            self.memory = message
        elif isinstance(message, LoadFailed):
            self._fail(message.problem)
            if message.permanent:
                self.state = EngineState.MISCONFIGURED

    def _fail(self, problem: Problem) -> None:
        logger.error("the model cannot be loaded: %s", problem.detail)
        self.kill()
        self.state, self.problem = EngineState.FAILED, problem
        self._retry_at = time.monotonic() + min(FIRST_PAUSE_S * 2**self._failures, LONGEST_PAUSE_S)
        self._failures += 1

    def _death(self) -> EngineDiedError:
        assert self._process is not None
        self._process.join(STOP_S)
        return EngineDiedError(f"The engine process {self.pid} ended: {explain_exit(self._process.exitcode)}")


def explain_exit(code: int | None) -> str:
    """Explain what an exit code of a child usually means."""
    if code == -signal.SIGKILL:
        return (
            "it was killed (exit code -9). It may have run out of memory; a smaller DAREFINE_BATCH_SIZE "
            "needs less."
        )
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return (
            f"it crashed ({name}, exit code {code}). A library failed on this input; look at the slide file."
        )
    return f"exit code {code}; see the worker's log."
