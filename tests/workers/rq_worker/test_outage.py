"""The queue server dies while a job runs."""

import os
import signal
from pathlib import Path

import pytest

from tests.workers.conftest import Queue
from workers.jobs import JobState
from workers.queue.connection import connect
from workers.queue.reconciler import LAST_TICK, SETTLING, Reconciler
from workers.supervisor.valkey import EmbeddedValkey


@pytest.fixture
def valkey(mortal_valkey: EmbeddedValkey) -> EmbeddedValkey:
    """All fixtures of this file use a server that may be killed."""
    return mortal_valkey


def crash(valkey: EmbeddedValkey) -> None:
    """Kill the server as a power cut would."""
    assert valkey.pid
    os.kill(valkey.pid, signal.SIGKILL)


def test_a_job_outlives_the_queue_server(bench, workers, valkey: EmbeddedValkey) -> None:
    workers.start()
    job, waiting = bench.submit(hold=True, patches=2), bench.submit(patches=1)
    bench.wait_for_file(job, "patch-0")
    crash(valkey)
    (Path(job.directory) / "go").touch()
    bench.wait_for_file(job, "overlay.tif")
    valkey.start()
    done = bench.wait(job, JobState.SUCCEEDED)
    assert (done.attempt, done.crashes, len(bench.starts(job))) == (1, 0, 1)
    bench.wait(waiting, JobState.SUCCEEDED)


def test_a_worker_without_its_queue_still_stops_when_told(bench, workers, valkey: EmbeddedValkey) -> None:
    worker = workers.start()
    job = bench.submit(hold=True)
    bench.wait_for_file(job, "patch-0")
    crash(valkey)
    worker.terminate()
    assert worker.wait(60) == 0
    assert not bench.is_alive(bench.starts(job)[0])


def test_leases_are_not_judged_before_workers_had_time_to_renew_them(
    bench, settings, valkey: EmbeddedValkey
) -> None:
    job = bench.submit()
    hasty = Queue.of(connect(valkey.url), settings.model_copy(update={"lease_s": 0.1}))
    assert hasty.lease.start(job.id, 1, "w")
    crash(valkey)
    valkey.start()
    patient = Reconciler(connect(valkey.url), lost_after_s=60, lease_s=3600)
    for _ in range(2):
        seconds, _ = hasty.redis.time()
        hasty.redis.set(LAST_TICK, seconds)
        hasty.redis.delete(SETTLING)
        assert patient.tick().reaped == ()
    impatient = Reconciler(hasty.redis, lost_after_s=60, lease_s=0.1)
    bench.wait_until(lambda: impatient.tick().reaped == (job.id,), "the end of the lease")
