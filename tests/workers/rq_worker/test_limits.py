"""Real workers that end by themselves, alone and under a supervisor; what they log as JSON."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from tests import ROOT
from tests.workers.conftest import STAND_IN
from workers.jobs import JobState
from workers.settings import WorkerSettings
from workers.work_limits import WorkLimits

pytestmark = pytest.mark.slow


def logged(settings: WorkerSettings, limits: WorkLimits) -> list[dict[str, object]]:
    """What a supervisor of one worker logs, line by line; it must end well."""
    command = [sys.executable, str(STAND_IN / "stand_in_supervisor.py"), *limits.to_arguments()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings.environment()}
    done = subprocess.run(command, env=environment, timeout=90, check=True, stderr=subprocess.PIPE)
    return [json.loads(line) for line in done.stderr.splitlines()]


def supervised(settings: WorkerSettings, limits: WorkLimits) -> int:
    """Exit code of a supervisor of one worker with limits."""
    command = [sys.executable, str(STAND_IN / "stand_in_supervisor.py"), *limits.to_arguments()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings.environment()}
    return subprocess.run(command, env=environment, timeout=90, check=False).returncode


def test_a_worker_ends_after_its_jobs_and_another_drains_the_rest(bench, workers, settings) -> None:
    jobs = [bench.submit(patches=1) for _ in range(3)]
    assert workers.start(WorkLimits(max_jobs=1)).wait(60) == 0
    assert [bench.state(job) for job in jobs] == [JobState.SUCCEEDED, JobState.QUEUED, JobState.QUEUED]
    lines = logged(settings.model_copy(update={"log_format": "json"}), WorkLimits(max_idle_s=0))
    told = {(line["logger"], line["job"]) for line in lines if "job" in line}
    for name in ("workers.engine.server", "workers.rq_worker.job_run"):
        assert {(name, jobs[1].id), (name, jobs[2].id)} <= told
    assert {line["logger"] for line in lines} >= {"workers.supervisor.process"}
    assert {bench.state(job) for job in jobs} == {JobState.SUCCEEDED}
    assert bench.queue.client.workers() == (), "it has said good-bye"


def test_a_worker_waits_its_idle_time_for_another_job(bench, workers) -> None:
    worker = workers.start(WorkLimits(max_idle_s=2))
    bench.wait_until(bench.queue.client.live_workers, "a live worker")
    bench.wait(bench.submit(patches=1), JobState.SUCCEEDED)
    assert worker.wait(60) == 0


def test_jobs_that_are_for_other_workers_do_not_hold_a_worker(bench, workers) -> None:
    first = bench.submit(patches=1)
    assert workers.start(WorkLimits(max_idle_s=0), default_model="01" * 32).wait(60) == 0
    bench.queue.client.submit(replace(bench.queue.client.get(first.id).request, model_sha256="02" * 32))
    assert workers.start(WorkLimits(max_idle_s=1), default_model="01" * 32).wait(60) == 0
    assert bench.state(first) is JobState.SUCCEEDED


def test_a_worker_that_cannot_load_its_model_gives_its_host_back(settings) -> None:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    (settings.data_dir / "broken-weights").touch()
    assert supervised(settings, WorkLimits(max_idle_s=60)) == os.EX_UNAVAILABLE
