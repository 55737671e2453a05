"""Measure the speed of this machine with a model: run measured jobs in a real engine process.

No torch here; see `workers.bench.measure`.
"""

import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import BenchFailedError, LocalRunError
from ..jobs import JobParameters, Progress
from ..local import LocalEngine
from ..protocol import RunJob
from ..rq_worker.engine_process import entry_named
from ..settings import WorkerSettings
from .options import RESULT, BenchOptions


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
        BenchFailedError: The model cannot be loaded, a job fails, or the process dies.
    """
    load_before = load_average()
    # A process that died would have measured in vain: it is not replaced.
    once = settings.model_copy(update={"max_crashes": 1})
    slide, parameters = options.slide.resolve(), JobParameters(mpp=options.mpp)
    try:
        with LocalEngine(once, entry_named("workers.bench.measure:main", options)) as engine:
            model = engine.loaded().default_model
            job = RunJob("bench", 1, slide.name, str(slide), str(directory), model, parameters)
            engine.run(job, report)
    except LocalRunError as error:
        raise BenchFailedError(str(error)) from error
    measured: dict[str, Any] = json.loads((directory / RESULT).read_text(encoding="ascii"))
    return {**measured, "load_before": load_before}


def time_models(
    slide: Path,
    models: Sequence[str],
    settings: WorkerSettings,
    directory: Path,
    *,
    report: Callable[[str, Progress], None] = lambda _model, _progress: None,
) -> list[dict[str, Any]]:
    """Time one job of each model on a slide, in one engine process.

    Returns `model`, and `backend`, `dtype`, `seconds` and the slide's `pixels`, or `error` where it did not
    run.

    Args:
        slide: Slide to label.
        models: Names of cards in the settings' weights folder; the first is loaded at once.
        settings: Of a worker.
        directory: Gets the jobs' files.
        report: Gets the progress of each.

    Raises:
        BenchFailedError: The first model cannot be loaded.
    """
    once = settings.model_copy(update={"max_crashes": 1, "default_model": models[0], "models_in_memory": 1})
    rows = []
    try:
        with LocalEngine(once, entry_named("workers.bench.hourly:main")) as engine:
            engine.loaded()
            for model in models:
                own = directory / model
                job = RunJob("bench", 1, slide.name, str(slide), str(own), model, JobParameters())
                try:
                    engine.run(job, partial(report, model))
                    timed = json.loads((own / RESULT).read_text(encoding="ascii"))
                except LocalRunError as error:
                    timed = {"error": str(error)}
                rows.append({"model": model, **timed})
    except LocalRunError as error:
        raise BenchFailedError(str(error)) from error
    return rows


def load_average() -> float | None:
    """Return how many processes wanted a core in the last minute, on average; None where unknown."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
