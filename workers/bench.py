"""What this machine reaches with a model: the measured jobs, in a real model process. No torch here; see `workers.measure`."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import BenchFailedError
from .jobs import JobParameters, Problem, Progress
from .messages import FromModel, ProgressMade, RunJob, Succeeded
from .model_child import Kit, load_kit, serve
from .model_process import ModelProcess, ModelState
from .settings import WorkerSettings

if TYPE_CHECKING:
    from model.segmenter import Segmenter

POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure on which slide."""

    slide: Path
    mpp: float | None = None
    """um per level-0 px; None leaves it to the slide."""
    repeats: int = 3
    """Of everything, in turn; what is reported is the median."""


def run_bench(
    options: BenchOptions,
    settings: WorkerSettings,
    directory: Path,
    *,
    report: Callable[[Progress], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure in a model process of its own; `settings` name model, device and precision as for a worker.

    `directory` gets the jobs' files, and must be on a disk like that of real jobs. The answer is what `workers.measure`
    documents, and `load_before`: the machine's load average before anything was started (None where unknown). Raises
    BenchFailedError; ModelProcessDiedError if the process dies.
    """
    load_before = load_average()
    model = ModelProcess(partial(main, options), settings)
    model.start()
    try:
        name = _loaded(model)
        parameters = JobParameters(mpp=options.mpp)
        slide = options.slide.resolve()
        model.send(RunJob("bench", 1, slide.name, str(slide), str(directory), name, parameters))
        _finish(model, report)
    finally:
        model.stop()
    measured: dict[str, Any] = json.loads((directory / RESULT).read_text(encoding="ascii"))
    return {**measured, "load_before": load_before}


def load_average() -> float | None:
    """Of the last minute: how many processes wanted a core. None where unknown."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


RESULT = "bench.json"
"""What the model process leaves in the directory."""


def main(options: BenchOptions, pipe: Connection, worker_pid: int, settings: WorkerSettings) -> None:
    """Entry of the spawned process: a model process whose pipeline measures."""
    serve(pipe, worker_pid, settings, partial(_load_measuring, options))


def _load_measuring(options: BenchOptions, settings: WorkerSettings) -> "Kit[Segmenter]":
    from .measure import measure  # noqa: PLC0415  (imports torch)

    pipeline = partial(measure, repeats=options.repeats)
    return replace(load_kit(settings), pipeline=pipeline)


def _loaded(model: ModelProcess) -> str:
    """Wait for the model; its name. Raises BenchFailedError."""
    while model.state is ModelState.STARTING:
        model.receive(POLL_S)
    if model.ready is None:
        raise _failure(model.problem)
    return model.ready.default_model


def _finish(model: ModelProcess, report: Callable[[Progress], None]) -> None:
    """Wait for the end. Raises BenchFailedError."""
    while True:
        message: FromModel | None = model.receive(POLL_S)
        if isinstance(message, ProgressMade):
            report(message.progress)
        elif isinstance(message, Succeeded):
            return
        elif message is not None:
            raise _failure(getattr(message, "problem", None))


def _failure(problem: Problem | None) -> BenchFailedError:
    return BenchFailedError(problem.detail if problem else "The model process stopped before it was done.")
