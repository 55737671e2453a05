"""The reconciler, without workers: leases are made to end by waiting them out."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from tests.workers.conftest import Queue
from workers.jobs import Job, JobState, Progress
from workers.queue.connection import connect
from workers.queue.reconciler import LAST_TICK, SETTLING, WORKER_LOST, Reconciled, Reconciler
from workers.queue.rq_lists import rq_id
from workers.settings import WorkerSettings

from .examples import submit

LEASE_S = 0.2
NORMAL = "rq:queue:darefine"
"""RQ's list of normal priority."""


@pytest.fixture
def queue(settings: WorkerSettings) -> Iterator[Queue]:
    """A queue with a very short lease, on a server that has been up for longer than that."""
    assert settings.redis_url
    with connect(settings.redis_url) as redis:
        while redis.info("server")["uptime_in_seconds"] < 1:
            time.sleep(0.05)
        yield Queue.of(redis, settings.model_copy(update={"lease_s": LEASE_S}))


@pytest.fixture
def reconciler(queue: Queue) -> Reconciler:
    """A reconciler that has ticked before, so that leases count."""
    reconciler = Reconciler(queue.redis, lost_after_s=0.1, lease_s=LEASE_S, max_losses=3)
    settle(queue)
    return reconciler


def settle(queue: Queue) -> None:
    """Make the queue look as if the last tick was just now."""
    queue.redis.delete(SETTLING)
    seconds, microseconds = queue.redis.time()
    queue.redis.set(LAST_TICK, seconds + microseconds / 1e6)


def running(queue: Queue) -> Job:
    """A job that worker `w` runs, taken out of RQ's list."""
    job = submit(queue)
    assert queue.lease.start(job.id, 1, "w")
    queue.lists.dequeue(job.id, 1)
    return job


def out_wait_lease(queue: Queue) -> None:
    """Let leases end while ticks went on."""
    time.sleep(LEASE_S * 1.5)
    settle(queue)


def lose(queue: Queue, reconciler: Reconciler, job: Job, *, attempts: tuple[int, ...]) -> None:
    """Lose the worker of each attempt."""
    for attempt in attempts:
        assert queue.lease.start(job.id, attempt, "w")
        out_wait_lease(queue)
        reconciler.tick()


def tick_until(reconciler: Reconciler, found: Callable[[Reconciled], tuple[str, ...]]) -> tuple[str, ...]:
    """Tick until something is found."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if ids := found(reconciler.tick()):
            return ids
        time.sleep(0.02)
    raise AssertionError("nothing found")


def test_a_job_whose_lease_ended_is_queued_again(queue: Queue, reconciler: Reconciler) -> None:
    job = running(queue)
    assert reconciler.tick() == Reconciled()
    out_wait_lease(queue)
    assert reconciler.tick() == Reconciled(reaped=(job.id,))
    again = queue.client.get(job.id)
    assert (again.state, again.attempt, again.crashes) == (JobState.QUEUED, 2, 0)
    assert queue.client.position(job.id) == 0
    assert not queue.lease.succeed(job.id, 1), "the lost worker must be fenced"


def test_heartbeats_keep_a_lease(queue: Queue, reconciler: Reconciler) -> None:
    job = running(queue)
    for _ in range(4):
        time.sleep(LEASE_S / 2)
        queue.lease.heartbeat(job.id, 1)
        settle(queue)
        assert reconciler.tick() == Reconciled()


def test_a_job_that_loses_worker_after_worker_fails(queue: Queue, reconciler: Reconciler) -> None:
    job = running(queue)
    queue.lease.heartbeat(job.id, 1, Progress(patches_done=1))
    lose(queue, reconciler, job, attempts=(1, 2))
    assert queue.client.get(job.id).state is JobState.QUEUED
    lose(queue, reconciler, job, attempts=(3,))
    failed = queue.client.get(job.id)
    assert failed.state is JobState.FAILED
    assert failed.error is not None
    assert failed.error.type == "worker-lost"


def test_losses_are_forgiven_while_patches_get_finished(queue: Queue, reconciler: Reconciler) -> None:
    job = running(queue)
    lose(queue, reconciler, job, attempts=(1, 2))
    assert queue.lease.start(job.id, 3, "w")
    queue.lease.heartbeat(job.id, 3, Progress(patches_done=1))
    lose(queue, reconciler, job, attempts=(3, 4))
    assert queue.client.get(job.id).state is JobState.QUEUED


def test_losses_are_not_counted_as_crashes(queue: Queue, reconciler: Reconciler) -> None:
    job = running(queue)
    lose(queue, reconciler, job, attempts=(1, 2))
    assert queue.lease.start(job.id, 3, "w")
    assert queue.lease.retry(job.id, 3, "w", WORKER_LOST) == 4, "its first crash"
    assert queue.client.get(job.id).crashes == 1


def test_a_cancelled_job_is_cancelled_even_at_its_last_loss(queue: Queue, reconciler: Reconciler) -> None:
    job = running(queue)
    lose(queue, reconciler, job, attempts=(1, 2))
    assert queue.lease.start(job.id, 3, "w")
    queue.client.cancel(job.id)
    lose(queue, reconciler, job, attempts=(3,))
    assert (queue.client.get(job.id).state, queue.client.get(job.id).error) == (JobState.CANCELLED, None)


def test_a_cancelled_job_of_a_lost_worker_is_cancelled(queue: Queue, reconciler: Reconciler) -> None:
    job = running(queue)
    queue.client.cancel(job.id)
    out_wait_lease(queue)
    reconciler.tick()
    assert queue.client.get(job.id).state is JobState.CANCELLED


def test_after_a_gap_between_ticks_workers_get_time_to_renew(queue: Queue) -> None:
    job = running(queue)
    time.sleep(LEASE_S * 1.5)
    reconciler = Reconciler(queue.redis, lost_after_s=60, lease_s=LEASE_S)
    assert reconciler.tick() == Reconciled(), "the first tick must not reap"
    assert queue.client.get(job.id).state is JobState.RUNNING
    assert tick_until(reconciler, lambda done: done.reaped) == (job.id,)


def test_concurrent_reconcilers_queue_a_job_once(queue: Queue, settings: WorkerSettings) -> None:
    assert settings.redis_url
    jobs = [running(queue) for _ in range(20)]
    others = [connect(settings.redis_url) for _ in range(4)]
    out_wait_lease(queue)
    start = threading.Barrier(len(others))
    reaped: list[str] = []

    def tick(other: Redis) -> None:
        start.wait()
        for _ in range(3):
            reaped.extend(Reconciler(other, lost_after_s=60, lease_s=LEASE_S).tick().reaped)

    threads = [threading.Thread(target=tick, args=(other,)) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(reaped) == sorted(job.id for job in jobs)
    assert sorted(queue.redis.lrange(NORMAL, 0, -1)) == sorted(rq_id(job.id, 2).encode() for job in jobs)


def test_a_queued_job_that_rq_lost_is_queued_again(queue: Queue, reconciler: Reconciler) -> None:
    lost, kept = (submit(queue) for _ in range(2))
    queue.lists.dequeue(lost.id, 1)
    assert reconciler.tick() == Reconciled(), "it may just be in a worker's hands"
    assert tick_until(reconciler, lambda done: done.restored) == (lost.id,)
    assert (queue.client.position(lost.id), queue.client.position(kept.id)) == (0, 1)
    assert queue.client.get(lost.id).attempt == 1


def test_a_job_handed_to_a_worker_that_died_before_it_started_is_queued_again(
    queue: Queue, reconciler: Reconciler
) -> None:
    job = submit(queue)
    assert queue.redis.lpop(NORMAL)
    assert tick_until(reconciler, lambda done: done.restored) == (job.id,)
    assert queue.client.position(job.id) == 0


def test_lost_jobs_come_back_in_their_order_behind_those_of_high_priority(
    queue: Queue, reconciler: Reconciler
) -> None:
    def submitted(priority: str) -> str:
        time.sleep(0.002)  # ids made within one millisecond have no order among themselves
        return submit(queue, priority=priority).id

    first, second, third, kept = (submitted("normal") for _ in range(4))
    lost_urgent, kept_urgent = submitted("high"), submitted("high")
    lost = (first, second, third, lost_urgent)
    for job_id in lost:
        queue.lists.dequeue(job_id, 1)
    assert tick_until(reconciler, lambda done: done.restored) == lost
    order = (lost_urgent, kept_urgent, first, second, third, kept)
    assert [queue.client.position(job_id) for job_id in order] == list(range(len(order)))


def commands(queue: Queue, call: Callable[[], object]) -> int:
    """Commands that the server runs for a call, those inside of scripts too."""
    queue.redis.config_resetstat()
    call()
    return sum(one["calls"] for one in queue.redis.info("commandstats").values())


def test_the_work_of_a_tick_does_not_grow_with_the_queue(queue: Queue) -> None:
    costs = []
    for waiting in (30, 60):
        for _ in range(waiting):
            submit(queue)
        reconciler = Reconciler(queue.redis, lost_after_s=0, lease_s=LEASE_S)
        reconciler.tick()
        costs.append(commands(queue, reconciler.tick))
    assert costs[0] == costs[1]


def test_jobs_of_a_version_without_an_order_get_one_and_are_found_when_lost(
    queue: Queue, reconciler: Reconciler
) -> None:
    lost, urgent, kept = submit(queue), submit(queue, priority="high"), submit(queue)
    for job in (lost, urgent, kept):
        queue.redis.hdel(f"darefine:job:{job.id}", "priority", "slide")
    queue.redis.delete(
        "darefine:order:normal", "darefine:order:high", f"darefine:slide:{lost.request.slide_id}"
    )
    queue.redis.delete("darefine:indexed")
    queue.lists.dequeue(lost.id, 1)
    queue.lists.dequeue(urgent.id, 1)
    assert set(tick_until(reconciler, lambda done: done.restored)) == {lost.id, urgent.id}
    assert [queue.client.position(job.id) for job in (urgent, lost, kept)] == [0, 1, 2]
    assert set(queue.client.unfinished(lost.request.slide_id)) == {lost.id, urgent.id, kept.id}


def test_a_job_that_waits_behind_others_is_not_missed_before_its_turn(
    queue: Queue, reconciler: Reconciler
) -> None:
    first, lost = submit(queue), submit(queue)
    queue.lists.dequeue(lost.id, 1)
    for _ in range(3):
        time.sleep(0.11)
        assert reconciler.tick() == Reconciled()
    queue.lease.start(first.id, 1, "w")
    queue.lists.dequeue(first.id, 1)
    queue.lease.succeed(first.id, 1)
    assert tick_until(reconciler, lambda done: done.restored) == (lost.id,)
