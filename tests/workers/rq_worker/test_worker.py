"""Real worker processes, real Valkey, stand-in pipeline: what happens when things die."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
import rq

from tests import ROOT
from workers.errors import JobNotFoundError
from workers.jobs import JobState
from workers.queue.reconciler import Reconciler
from workers.queue.rq_lists import QUEUES, TASK
from workers.queue.tallies import JOB_SECONDS, MODEL_LOADS, QUEUE_WAIT, Tallies
from workers.settings import WorkerSettings


@pytest.fixture
def reconciler(bench, settings):
    """What a supervisor would tick."""
    return Reconciler(bench.queue.redis, lost_after_s=settings.lost_after_s, lease_s=settings.lease_s)


def test_the_worker_never_imports_torch() -> None:
    modules = "workers.__main__, workers.supervisor.supervisor, workers.engine.tissue"
    code = f"import sys, {modules}; print(sorted(m for m in sys.modules if 'torch' in m))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"


def test_a_job_runs_and_says_what_it_does(shop) -> None:
    job = shop.submit(patches=3)
    done = shop.wait(job, JobState.SUCCEEDED)
    assert (done.attempt, done.crashes, done.error) == (1, 0, None)
    assert (done.progress.fraction, done.progress.patches_done, done.progress.patches_total) == (1.0, 3, 3)
    assert done.files.overlay.exists()


def test_a_worker_tells_the_api_of_itself_and_its_models(shop) -> None:
    shop.wait_until(shop.queue.client.live_workers, "a live worker")
    (info,) = shop.queue.client.live_workers()
    assert (info.device, info.dtype, info.models) == ("cpu", "float32", ("stand-in",))
    models = shop.queue.client.models()
    assert (models.default, [card["name"] for card in models.cards]) == ("stand-in", ["stand-in"])


def test_what_a_worker_does_is_counted(shop) -> None:
    shop.wait(shop.submit(patches=1, priority="high"), JobState.SUCCEEDED)
    key = ("stand-in", "succeeded")
    shop.wait_until(lambda: key in Tallies(shop.queue.redis).read()[JOB_SECONDS], "the sums")
    sums = Tallies(shop.queue.redis).read()
    assert sums[QUEUE_WAIT]["high",]["sum"] >= 0
    assert sums[MODEL_LOADS]["stand-in",]["sum"] > 0


def test_one_engine_process_serves_job_after_job(shop) -> None:
    jobs = [shop.submit(patches=1) for _ in range(3)]
    for job in jobs:
        shop.wait(job, JobState.SUCCEEDED)
    pids = {pid for job in jobs for pid in shop.starts(job)}
    assert len(pids) == 1
    parent = Path(f"/proc/{pids.pop()}/stat").read_text().rsplit(")", 1)[1].split()[1]
    assert "torch" not in Path(f"/proc/{parent}/maps").read_text()


def test_a_refused_slide_fails_its_job_for_good(shop) -> None:
    failed = shop.wait(shop.submit(error="slide is a text file"), JobState.FAILED)
    assert failed.error is not None
    assert (failed.error.type, failed.error.detail) == ("slide-unreadable", "slide is a text file")
    assert failed.attempt == 1
    assert len(shop.starts(failed)) == 1


def test_an_unexpected_error_is_tried_again_in_a_new_engine_process(shop) -> None:
    done = shop.wait(shop.submit(error="No space left on device", error_once=True), JobState.SUCCEEDED)
    assert (done.attempt, done.crashes, done.error) == (2, 1, None)
    assert len(set(shop.starts(done))) == 2


def test_an_unexpected_error_that_comes_again_fails_the_job_with_its_own_words(shop) -> None:
    failed = shop.wait(shop.submit(error="CUDA error"), JobState.FAILED)
    assert failed.error is not None
    assert failed.error.type == "internal"
    assert "CUDA error" in failed.error.detail
    assert len(shop.starts(failed)) == 2
    healthy = shop.submit(patches=1)
    shop.wait(healthy, JobState.SUCCEEDED)
    assert shop.starts(healthy)[0] not in shop.starts(failed)


def test_a_crash_is_tried_again_at_once_and_goes_on_where_it_was(shop) -> None:
    job = shop.submit(patches=4, die_at=[2])
    done = shop.wait(job, JobState.SUCCEEDED)
    assert (done.attempt, done.crashes) == (2, 1)
    assert done.progress.patches_done == 4
    assert len(set(shop.starts(job))) == 2


def test_crashes_between_finished_patches_are_forgiven(shop) -> None:
    done = shop.wait(shop.submit(patches=4, die_at=[1, 2, 3]), JobState.SUCCEEDED)
    assert (done.attempt, done.crashes) == (4, 1)


def test_two_crashes_at_the_same_patch_fail_the_job_but_not_the_next(shop) -> None:
    job = shop.submit(patches=3, die_at=[1], die_once=False)
    after = shop.submit(patches=1)
    failed = shop.wait(job, JobState.FAILED)
    assert failed.error is not None
    assert failed.error.type == "pipeline-crashed"
    assert "exit code 11" in failed.error.detail
    assert failed.crashes == 2
    shop.wait(after, JobState.SUCCEEDED)


def test_a_killed_engine_process_costs_one_attempt(shop) -> None:
    job = shop.submit(hold=True)
    shop.wait_for_file(job, "patch-0")
    os.kill(shop.starts(job)[0], signal.SIGKILL)
    shop.wait_until(lambda: len(shop.starts(job)) == 2, "second start")
    (Path(job.directory) / "go").touch()
    assert shop.wait(job, JobState.SUCCEEDED).attempt == 2


@pytest.mark.slow
def test_a_killed_worker_takes_its_engine_process_along_and_another_goes_on(
    bench, workers, reconciler
) -> None:
    first = workers.start()
    job = bench.submit(hold=True)
    bench.wait_for_file(job, "patch-0")
    orphan = bench.starts(job)[0]
    workers.start()
    first.kill()
    first.wait()
    bench.wait_until(lambda: not bench.is_alive(orphan), "end of the engine process")

    def resumed() -> bool:
        reconciler.tick()
        return len(bench.starts(job)) == 2

    bench.wait_until(resumed, "second start")
    (Path(job.directory) / "go").touch()
    done = bench.wait(job, JobState.SUCCEEDED)
    assert (done.attempt, done.crashes) == (2, 0)


def test_a_stopped_worker_gives_its_job_back_without_blame(bench, workers) -> None:
    worker = workers.start()
    job, waiting = bench.submit(hold=True), bench.submit()
    bench.wait_for_file(job, "patch-0")
    worker.terminate()
    assert worker.wait(60) == 0
    released = bench.queue.client.get(job.id)
    assert (released.state, released.attempt, released.crashes) == (JobState.QUEUED, 2, 0)
    assert (bench.queue.client.position(job.id), bench.queue.client.position(waiting.id)) == (0, 1)
    assert not bench.is_alive(bench.starts(job)[0])
    assert bench.queue.client.workers() == ()


def test_a_running_job_is_cancelled(shop) -> None:
    job = shop.submit(hold=True)
    shop.wait_for_file(job, "patch-0")
    shop.queue.client.cancel(job.id)
    shop.wait(job, JobState.CANCELLED)
    healthy = shop.submit(patches=1)
    shop.wait(healthy, JobState.SUCCEEDED)
    assert shop.starts(healthy) == shop.starts(job), "a pipeline that listens is not killed"


def test_a_pipeline_deaf_to_a_cancel_is_killed(shop) -> None:
    job = shop.submit(hold=True, deaf=True)
    shop.wait_for_file(job, "patch-0")
    shop.queue.client.cancel(job.id)
    shop.wait(job, JobState.CANCELLED)
    assert not shop.is_alive(shop.starts(job)[0])


def test_a_silent_pipeline_is_killed_and_counted_as_a_crash(bench, workers) -> None:
    workers.start(stall_timeout_s=0.5)
    failed = bench.wait(bench.submit(hold=True), JobState.FAILED)
    assert failed.error is not None
    assert "no sign of life" in failed.error.detail
    assert len(bench.starts(failed)) == 2


def test_deleting_a_running_job_stops_it_first(shop) -> None:
    job = shop.submit(hold=True)
    shop.wait_for_file(job, "patch-0")
    assert shop.queue.client.delete(job.id).state is JobState.CANCELLED
    with pytest.raises(JobNotFoundError):
        shop.queue.client.get(job.id)
    healthy = shop.submit(patches=1)
    shop.wait(healthy, JobState.SUCCEEDED)


def test_a_worker_fenced_off_drops_the_job(shop) -> None:
    job = shop.submit(hold=True, deaf=True)
    shop.wait_for_file(job, "patch-0")
    shop.queue.client.delete(job.id, wait_s=0)
    shop.wait_until(lambda: not shop.is_alive(shop.starts(job)[0]), "end of the engine process")


@pytest.mark.slow
def test_a_worker_without_a_model_takes_no_job_and_says_why_until_it_has_one(
    bench, workers, settings: WorkerSettings
) -> None:
    broken = settings.data_dir / "broken-weights"
    broken.touch()
    worker = workers.start()
    job = bench.submit(patches=1)
    bench.wait_until(lambda: any(w.problem for w in bench.queue.client.workers()), "a worker that complains")
    (info,) = bench.queue.client.workers()
    assert info.problem is not None
    assert info.problem.type == "weights"
    assert bench.queue.client.live_workers() == ()
    for _ in range(40):  # it tries again all the while, too briefly to be seen for sure
        assert [w.problem for w in bench.queue.client.workers()] == [info.problem], "the complaint stays"
        time.sleep(0.05)
    assert bench.state(job) is JobState.QUEUED
    broken.unlink()
    bench.wait(job, JobState.SUCCEEDED)
    worker.send_signal(signal.SIGINT)
    assert worker.wait(60) == 0, "an idle worker ends at once"


def test_a_worker_runs_no_other_function(shop, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    normal = rq.Queue(QUEUES["normal"], connection=shop.queue.redis, serializer="json")
    normal.enqueue_call("os.mkdir", args=(str(marker),), job_id="evil")
    evil = rq.Callback("stand_in_callback.leave_mark")
    normal.enqueue_call(TASK, args=("nobody", 1), job_id="callback", on_success=evil)
    shop.wait(shop.submit(patches=1), JobState.SUCCEEDED)
    assert not marker.exists()
    assert shop.queue.redis.hget("rq:job:callback", "status") == b"finished"
    assert not shop.queue.redis.exists("mark")
    assert re.search("failed", str(shop.queue.redis.hget("rq:job:evil", "status")))


def test_jobs_in_redis_are_json(bench) -> None:
    job = bench.submit()
    data = bench.queue.redis.hget(f"rq:job:{job.id}-1", "data")
    name, _, args, _ = json.loads(zlib.decompress(data))
    assert (name, args) == (TASK, [job.id, 1])
