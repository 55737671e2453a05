"""Time one job of each model in the engine process, for the figure of slides an hour."""

import json
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from model.inference.segmenter import Segmenter

from ..engine.hooks import Hooks
from ..engine.main import load_engine
from ..engine.server import Engine, serve
from ..jobs import Progress
from ..protocol import RunJob
from ..settings import WorkerSettings
from .measure import time_job, warm_up
from .options import RESULT


def main(pipe: Connection, worker_pid: int, settings: WorkerSettings) -> None:
    """Serve as an engine whose pipeline times one job; the entry of the spawned process."""
    serve(pipe, worker_pid, settings, _load_timing)


def _load_timing(settings: WorkerSettings) -> Engine[Segmenter]:
    return replace(load_engine(settings), pipeline=time_once)


def time_once(
    run: RunJob,
    segmenter: Segmenter,
    report: Callable[[Progress], None],
    cancelled: Callable[[], bool],
    _: Hooks,
) -> None:
    """Time one whole job after a warm-up, and leave RESULT in its directory.

    Raises:
        BenchFailedError: No tissue was found on the slide.
        WsiError: As `run_pipeline`.
    """
    warm_up(segmenter, run)
    timed, result, _plan = time_job(run, segmenter, report, cancelled)
    slide = result["slide"]
    found = {
        "backend": segmenter.backend,
        "dtype": segmenter.dtype,
        "seconds": round(timed.seconds, 3),
        "pixels": slide["width"] * slide["height"],
    }
    Path(run.directory).mkdir(parents=True, exist_ok=True)
    (Path(run.directory) / RESULT).write_text(json.dumps(found), encoding="ascii")
