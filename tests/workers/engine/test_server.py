"""The engine process's side of a job: what it answers and what it logs."""

import logging
from types import SimpleNamespace
from typing import cast

import pytest

from workers.engine.server import Engine, WorkerPipe, run_job
from workers.jobs import JobParameters
from workers.protocol import Failed, Ready, RunJob
from wsi.errors import SlideUnreadableError


def test_the_log_has_no_name_but_the_runs_own(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(*_: object) -> None:
        raise SlideUnreadableError("17-4711 Smith.svs is damaged. Send it again.")

    run = RunJob("j", 1, "5" * 24, "/nas/17-4711 Smith.svs", "/jobs/j", "m", JobParameters())
    engine: Engine[None] = Engine(Ready("cpu", "float32", "m", ()), lambda _: None, refuse)
    caplog.set_level(logging.INFO, logger="workers")
    answer = run_job(
        run, engine, cast("WorkerPipe", SimpleNamespace(cancelled=lambda: False, may_clean=lambda: True))
    )
    assert isinstance(answer, Failed)
    assert not answer.suspect
    assert "Smith" not in caplog.text
    assert f"{'5' * 24} is damaged. Send it again." in caplog.text
