"""The engine without a queue: real processes around a stand-in pipeline."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.errors import LocalRunError
from workers.jobs import JobParameters, Progress
from workers.local import LocalEngine
from workers.protocol import RunJob
from workers.rq_worker.engine_process import entry_named
from workers.settings import WorkerSettings

from .conftest import STAND_IN


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalEngine]:
    monkeypatch.syspath_prepend(str(STAND_IN))
    with LocalEngine(WorkerSettings(data_dir=tmp_path), entry_named("stand_in_engine:main")) as engine:
        yield engine


def job(tmp_path: Path, **plan: object) -> RunJob:
    """A job whose stand-in pipeline does as told."""
    return RunJob("job", 1, json.dumps(plan), "/a.svs", str(tmp_path / "job"), "stand-in", JobParameters())


def starts(tmp_path: Path) -> int:
    return len((tmp_path / "job" / "starts").read_text().split())


def test_a_job_runs_to_its_end_and_tells_how_far_it_is(engine: LocalEngine, tmp_path: Path) -> None:
    told: list[Progress] = []
    assert engine.loaded().default_model == "stand-in"
    engine.run(job(tmp_path), told.append)
    assert [progress.patches_done for progress in told] == [1, 2, 3]
    assert (tmp_path / "job" / "overlay.tif").exists()


def test_a_crash_is_gone_on_from_in_a_new_process(engine: LocalEngine, tmp_path: Path) -> None:
    engine.run(job(tmp_path, die_at=[1]))
    assert starts(tmp_path) == 2
    assert (tmp_path / "job" / "overlay.tif").exists()


def test_a_slide_that_crashes_every_process_does_no_harm_to_the_next(
    engine: LocalEngine, tmp_path: Path
) -> None:
    with pytest.raises(LocalRunError, match="exit code 11"):
        engine.run(job(tmp_path, die_at=[0], die_once=False))
    assert starts(tmp_path) == 2
    engine.run(job(tmp_path / "next"))


def test_what_is_expected_is_not_tried_again(engine: LocalEngine, tmp_path: Path) -> None:
    with pytest.raises(LocalRunError, match=r"^slide is torn$"):
        engine.run(job(tmp_path, error="slide is torn"))
    assert starts(tmp_path) == 1
    engine.run(job(tmp_path / "unexpected", error="odd", error_once=True))
    assert starts(tmp_path / "unexpected") == 2


def test_a_model_that_cannot_be_loaded_is_told(engine: LocalEngine, tmp_path: Path) -> None:
    engine.loaded()
    (tmp_path / "broken-weights").touch()
    with (
        LocalEngine(WorkerSettings(data_dir=tmp_path), entry_named("stand_in_engine:main")) as other,
        pytest.raises(LocalRunError, match="not the file its card describes"),
    ):
        other.run(job(tmp_path))
