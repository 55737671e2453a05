"""Hosts that are wrong: real workers, of which one cannot run what the others can."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.workers.conftest import Bench, Workers
from workers.identity import LabelIdentity
from workers.jobs import Job, JobState
from workers.queue.registry import WorkerState
from workers.settings import WorkerSettings


@pytest.fixture
def torn(settings: WorkerSettings) -> Path:
    """A weights folder whose weights are not what their card says."""
    folder = settings.data_dir / "torn-weights"
    folder.mkdir()
    (folder / "torn").touch()
    return folder


def states(bench: Bench) -> dict[int, WorkerState]:
    """Announced states by process id."""
    return {int(one.name.split("-")[-2]): one.state for one in bench.queue.client.workers()}


def test_a_job_fails_only_when_every_live_worker_refused_it(
    bench: Bench, workers: Workers, torn: Path
) -> None:
    bad = workers.start(weights_dir=torn)
    bench.wait_until(lambda: states(bench).get(bad.pid) is WorkerState.IDLE, "the bad worker")
    alone = bench.wait(bench.submit(patches=1), JobState.FAILED)
    assert alone.error is not None
    assert (alone.error.type, alone.attempt) == ("weights", 1)
    good = workers.start()
    bench.wait_until(lambda: states(bench).get(good.pid) is WorkerState.IDLE, "the good worker")
    jobs = [bench.submit(patches=1) for _ in range(6)]
    done = [bench.wait(job, JobState.SUCCEEDED) for job in jobs]
    assert {job.worker for job in done} == {
        one.name for one in bench.queue.client.workers() if f"-{good.pid}-" in one.name
    }
    assert sum(job.attempt - 1 for job in done) <= 3
    assert all(job.crashes == 0 for job in done)


@pytest.mark.slow
def test_a_host_is_set_aside_after_three_jobs_and_comes_back_when_it_is_cured(
    bench: Bench, workers: Workers, torn: Path
) -> None:
    bad = workers.start(weights_dir=torn)
    bench.wait_until(lambda: states(bench).get(bad.pid) is WorkerState.IDLE, "the bad worker")
    for _ in range(3):
        bench.wait(bench.submit(patches=1), JobState.FAILED)
    bench.wait_until(lambda: states(bench)[bad.pid] is WorkerState.QUARANTINED, "quarantine")
    (info,) = bench.queue.client.workers()
    assert info.problem is not None
    assert "not the file its card describes" in info.problem.detail
    assert bench.queue.client.live_workers() == ()
    waiting = bench.submit(patches=1)
    time.sleep(0.5)
    assert bench.state(waiting) is JobState.QUEUED, "three are enough"
    (torn / "torn").unlink()
    assert bench.wait(waiting, JobState.SUCCEEDED).attempt == 1


def test_a_worker_with_another_data_folder_takes_no_job_and_says_so(
    bench: Bench, workers: Workers, tmp_path: Path
) -> None:
    wrong = workers.start(data_dir=tmp_path / "elsewhere")
    bench.wait_until(lambda: states(bench).get(wrong.pid) is WorkerState.IDLE, "no API has told its folder")
    job = bench.submit(patches=1)
    bench.wait_until(lambda: states(bench)[wrong.pid] is WorkerState.QUARANTINED, "quarantine")
    (info,) = bench.queue.client.workers()
    assert info.problem is not None
    assert info.problem.type == "storage-differs"
    assert str(tmp_path / "elsewhere") in info.problem.detail
    assert bench.queue.client.position(job.id) == 0
    workers.start()
    assert bench.wait(job, JobState.SUCCEEDED).attempt == 1


def submit_for(bench: Bench, job: Job, sha256: str) -> Job:
    """A job like another, for weights of this sha256."""
    return bench.queue.client.submit(replace(job.request, model_sha256=sha256))


def test_a_job_goes_to_a_worker_that_has_its_weights_and_holds_up_no_other(
    bench: Bench, workers: Workers
) -> None:
    old, new = "01" * 32, "02" * 32
    workers.start(default_model=old)
    plain = bench.wait(bench.submit(patches=1), JobState.SUCCEEDED)
    pinned = submit_for(bench, plain, new)
    behind = submit_for(bench, plain, old)
    bench.wait(behind, JobState.SUCCEEDED)
    assert (bench.state(pinned), bench.queue.client.position(pinned.id)) == (JobState.QUEUED, 0)
    workers.start(default_model=new)
    assert bench.wait(pinned, JobState.SUCCEEDED).attempt == 1
    cards = bench.queue.client.models().cards
    assert {card["weights"]["sha256"] for card in cards} == {old, new}


def identity(device: str) -> LabelIdentity:
    """What a host with a device makes labels with."""
    return LabelIdentity({}, {}, {}, device, "float32", "torch 2", "darefine 0")


def test_what_makes_labels_is_pinned_at_the_first_start(bench: Bench) -> None:
    job = bench.submit()
    lease = bench.queue.lease
    assert lease.pinned(job.id) is None
    assert lease.start(job.id, 1, "w")
    first, other = (identity(device) for device in ("cpu AVX512", "cuda H100"))
    lease.pin(job.id, 1, first)
    lease.pin(job.id, 1, other)
    lease.pin(job.id, 2, other)
    assert lease.pinned(job.id) == first
    bench.queue.redis.hset(f"darefine:job:{job.id}", "identity", json.dumps({"device": 3}))
    assert lease.pinned(job.id) is None, "of another version"
