"""RQ's lists of waiting jobs."""

from tests.workers.conftest import Queue
from workers.jobs import JobState

from .examples import running, submit


def test_high_priority_goes_first_and_jobs_of_one_priority_in_the_order_they_came(queue: Queue) -> None:
    normal = [submit(queue) for _ in range(2)]
    high = [submit(queue, priority="high") for _ in range(3)]
    order = [*high, *normal]
    assert [queue.client.position(job.id) for job in order] == [0, 1, 2, 3, 4]
    queue.client.cancel(high[1].id)
    assert [queue.client.position(job.id) for job in order] == [0, None, 1, 2, 3]


def test_a_job_given_back_goes_before_its_own_priority_only(queue: Queue) -> None:
    given_back = running(queue)
    queue.lists.dequeue(given_back.id, 1)
    high, normal = submit(queue, priority="high"), submit(queue)
    assert queue.lease.release(given_back.id, 1)
    assert [queue.client.position(job.id) for job in (high, given_back, normal)] == [0, 1, 2]


def test_a_worker_takes_jobs_in_the_order_of_their_positions(queue: Queue, bench, workers) -> None:
    jobs = [bench.submit(priority=priority, patches=1) for priority in ("normal", "normal", "high", "high")]
    expected = sorted(jobs, key=lambda job: queue.client.position(job.id))
    assert [job.request.priority for job in expected] == ["high", "high", "normal", "normal"]
    workers.start()
    done = [bench.wait(job, JobState.SUCCEEDED) for job in jobs]
    assert [job.id for job in sorted(done, key=lambda job: job.started_at)] == [job.id for job in expected]


def test_a_job_deleted_meanwhile_is_not_queued(queue: Queue) -> None:
    queue.lists.enqueue("nobody", 1)
    assert queue.lists.listed() == set()


def test_waiting_jobs_come_in_the_order_in_which_workers_take_them(queue: Queue) -> None:
    first, gone, second = submit(queue), submit(queue), submit(queue)
    started = running(queue)
    urgent = submit(queue, priority="high")
    queue.redis.delete(f"darefine:job:{gone.id}")
    assert queue.lists.waiting(9) == (urgent.id, first.id, gone.id, second.id, started.id)
    assert queue.lists.waiting(2) == (urgent.id, first.id)
    assert queue.lists.waiting(9) == queue.lists.waiting(9), "takes none"
