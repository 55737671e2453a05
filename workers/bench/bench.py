"""Measure the speed of this machine with a model: run measured jobs in a real engine process.

No torch here; see `workers.bench.measure`.
"""

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
    """Measure in an engine process of its own; return the keys that benchmarks/README.md documents.

    One of them is `load_before`, the machine's load average before anything was started (None where unknown).

    Args:
        options: What to measure.
        settings: Model, device and precision, as for a worker.
        directory: Gets the jobs' files; must be on a disk like that of real jobs.
        report: Gets the progress.

    Raises:
        BenchFailedError: The model cannot be loaded, or a job fails.
        EngineDiedError: The process dies.
    """
    load_before = load_average()
    engine = EngineProcess(entry_named("workers.bench.measure:main", options), settings)
    engine.start()
    try:
        name = _loaded(engine)
        parameters = JobParameters(mpp=options.mpp)
        slide = options.slide.resolve()
        engine.send(RunJob("bench", 1, slide.name, str(slide), str(directory), name, parameters))
        _finish(engine, report)
    finally:
        engine.stop()
    measured: dict[str, Any] = json.loads((directory / RESULT).read_text(encoding="ascii"))
    return {**measured, "load_before": load_before}


def load_average() -> float | None:
    """Return how many processes wanted a core in the last minute, on average; None where unknown."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _loaded(engine: EngineProcess) -> str:
    """Wait until the model is loaded; return its name.

    Raises:
        BenchFailedError: It cannot be loaded.
    """
    while engine.state is EngineState.STARTING:
        engine.receive(POLL_S)
    if engine.ready is None:
        raise _failure(engine.problem)
    return engine.ready.default_model


def _finish(engine: EngineProcess, report: Callable[[Progress], None]) -> None:
    """Wait for the end of the job.

    Raises:
        BenchFailedError: It did not succeed.
    """
    while True:
        message: FromEngine | None = engine.receive(POLL_S)
        if isinstance(message, ProgressMade):
            report(message.progress)
        elif isinstance(message, Succeeded):
            return
        elif message is not None:
            raise _failure(getattr(message, "problem", None))


def _failure(problem: Problem | None) -> BenchFailedError:
    return BenchFailedError(problem.detail if problem else "The model process stopped before it was done.")
