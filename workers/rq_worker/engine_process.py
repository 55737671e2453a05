"""The worker's end of the model process: one spawned child that keeps networks in memory and runs pipelines."""

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

from ..errors import ModelProcessDiedError
from ..jobs import Problem
from ..protocol import FromModel, LoadFailed, Ready, Shutdown, ToModel
from ..settings import WorkerSettings

logger = logging.getLogger(__name__)

Target = Callable[[Connection, int, WorkerSettings], None]
"""Entry of the child: called with (its end of the pipe, the worker's process id, settings); must be picklable."""


def entry_named(name: str, *arguments: object) -> Target:
    """Return the entry `module:function`, called with `arguments` before the pipe; the child alone imports the module."""
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

STOP_S = 2.0


class ModelState(StrEnum):
    """Whether the model process can take a job."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


class EngineProcess:
    """Starts, hears, stops and replaces the model process. Use it from the main thread (see `workers.die_with_parent`)."""

    def __init__(self, target: Target, settings: WorkerSettings) -> None:
        """`target` is ENGINE unless a test or a benchmark stands in for it."""
        self._target = target
        self._settings = settings
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._failures = 0
        self._retry_at = 0.0
        self.state = ModelState.STARTING
        self.ready: Ready | None = None
        self.problem: Problem | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the child."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Spawn a child, killing the one before. It is READY once its message says so."""
        self.kill()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=self._target, args=(theirs, os.getpid(), self._settings), name="model", daemon=True
        )
        self._process.start()
        # Ours alone may hold the other end, or a dead child would not read as end of file.
        theirs.close()
        self.state = ModelState.STARTING

    def send(self, message: ToModel) -> None:
        """Raises ModelProcessDiedError."""
        try:
            self._connection().send(message)
        except OSError as error:
            raise self._death() from error

    def receive(self, timeout_s: float) -> FromModel | None:
        """The next message within `timeout_s` seconds, or None; Ready, LoadFailed and a death while loading set `state`.

        Raises ModelProcessDiedError if a loaded model's process is gone, once all it sent before is read.
        """
        pipe = self._connection()
        assert self._process is not None
        if not wait([pipe, self._process.sentinel], timeout_s):
            return None
        try:
            # A message may have been sent just before a death: read those first, the end of the pipe comes after.
            message: FromModel = pipe.recv()
        except (EOFError, OSError) as error:
            death = self._death()
            if self.state is ModelState.STARTING:
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
        """While no job runs: hear the child for `timeout_s` seconds, and replace it if it is gone.

        A model that could not be loaded is tried again after a pause that doubles up to a minute; `problem` says why.
        """
        if self.state is ModelState.FAILED:
            pause = self._retry_at - time.monotonic()
            if pause > 0:
                time.sleep(min(pause, timeout_s))
                return
            self.start()
        try:
            self.receive(timeout_s)
        except ModelProcessDiedError as error:
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
        """End the child, politely first."""
        if self._process is not None:
            try:
                self.send(Shutdown())
                self._process.join(STOP_S)
            except ModelProcessDiedError:
                logger.debug("the model process was gone already")
        self.kill()

    def _connection(self) -> Connection:
        if self._pipe is None:
            raise ModelProcessDiedError("The model process has not been started.")
        return self._pipe

    def _note(self, message: FromModel) -> None:
        if isinstance(message, Ready):
            self.state, self.ready, self.problem, self._failures = ModelState.READY, message, None, 0
            logger.info(
                "model process %s ready: %s on %s (%s)",
                self.pid,
                message.default_model,
                message.device,
                message.dtype,
            )
        elif isinstance(message, LoadFailed):
            self._fail(message.problem)

    def _fail(self, problem: Problem) -> None:
        logger.error("the model cannot be loaded: %s", problem.detail)
        self.kill()
        self.state, self.problem = ModelState.FAILED, problem
        self._retry_at = time.monotonic() + min(FIRST_PAUSE_S * 2**self._failures, LONGEST_PAUSE_S)
        self._failures += 1

    def _death(self) -> ModelProcessDiedError:
        assert self._process is not None
        self._process.join(STOP_S)
        return ModelProcessDiedError(
            f"The model process {self.pid} ended: {explain_exit(self._process.exitcode)}"
        )


def explain_exit(code: int | None) -> str:
    """What an exit code of a child usually means."""
    if code == -signal.SIGKILL:
        return "it was killed (exit code -9). It may have run out of memory; a smaller DAREFINE_BATCH_SIZE needs less."
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return (
            f"it crashed ({name}, exit code {code}). A library failed on this input; look at the slide file."
        )
    return f"exit code {code}; see the worker's log."
