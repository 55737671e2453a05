"""What this machine reaches with a model: the measured jobs, in a real model process. No torch here; see `workers.bench.measure`."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import BenchFailedError
from ..jobs import JobParameters, Problem, Progress
from ..protocol import FromEngine, ProgressMade, RunJob, Succeeded
from ..rq_worker.engine_process import EngineProcess, EngineState, entry_named
from ..settings import WorkerSettings
from .options import RESULT, BenchOptions

POLL_S = 1.0


def run_bench(
    options: BenchOptions,
    settings: WorkerSettings,
    directory: Path,
    *,
    report: Callable[[Progress], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure in a model process of its own; `settings` name model, device and precision as for a worker.

    `directory` gets the jobs' files, and must be on a disk like that of real jobs. The answer is what `workers.bench.measure`
    documents, and `load_before`: the machine's load average before anything was started (None where unknown). Raises
    BenchFailedError; EngineDiedError if the process dies.
    """
    load_before = load_average()
    model = EngineProcess(entry_named("workers.bench.measure:main", options), settings)
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


def _loaded(model: EngineProcess) -> str:
    """Wait for the model; its name. Raises BenchFailedError."""
    while model.state is EngineState.STARTING:
        model.receive(POLL_S)
    if model.ready is None:
        raise _failure(model.problem)
    return model.ready.default_model


def _finish(model: EngineProcess, report: Callable[[Progress], None]) -> None:
    """Wait for the end. Raises BenchFailedError."""
    while True:
        message: FromEngine | None = model.receive(POLL_S)
        if isinstance(message, ProgressMade):
            report(message.progress)
        elif isinstance(message, Succeeded):
            return
        elif message is not None:
            raise _failure(getattr(message, "problem", None))


def _failure(problem: Problem | None) -> BenchFailedError:
    return BenchFailedError(problem.detail if problem else "The model process stopped before it was done.")
