"""How many threads read and store beside a network."""

import os
from functools import partial

import pytest

from tests import WEIGHTS
from workers.engine.main import io_threads, load_engine
from workers.engine.segment import IoThreads
from workers.settings import WorkerSettings


@pytest.mark.parametrize(
    ("device", "cores", "workers", "expected"),
    [
        ("cpu", 64, 1, IoThreads(2, 1)),
        ("cuda:0", 2, 1, IoThreads(2, 1)),
        ("cuda:0", 8, 1, IoThreads(4, 2)),
        ("cuda:1", 16, 4, IoThreads(2, 1)),
        ("cuda:0", 128, 1, IoThreads(8, 4)),
    ],
)
def test_a_gpu_gets_half_of_the_cores_that_each_worker_has(
    monkeypatch: pytest.MonkeyPatch, device: str, cores: int, workers: int, expected: IoThreads
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert io_threads(WorkerSettings(workers=workers), device) == expected


def test_a_number_is_taken_as_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAREFINE_READ_THREADS", "12")
    assert io_threads(WorkerSettings(), "cpu") == IoThreads(12, 6)


def test_the_engine_runs_jobs_with_them() -> None:
    engine = load_engine(WorkerSettings(weights_dir=WEIGHTS, device="cpu", read_threads=5))
    assert isinstance(engine.pipeline, partial)
    assert engine.pipeline.keywords == {"threads": IoThreads(5, 2)}
