"""The worker's side of the queue, on a real server, without workers."""

import pytest

from tests.workers.conftest import Queue
from workers.errors import JobFinalError
from workers.jobs import JobState, Progress
from workers.queue.lease import Ownership
from workers.queue.reconciler import Reconciler

from .examples import PROBLEM, running, submit


def test_cancelling_a_running_job_tells_its_worker(queue: Queue) -> None:
    job = running(queue)
    assert queue.lease.heartbeat(job.id, 1) is Ownership.HELD
    assert queue.client.cancel(job.id).cancel_requested
    assert queue.lease.heartbeat(job.id, 1) is Ownership.CANCEL_REQUESTED
    assert queue.lease.confirm_cancel(job.id, 1)
    assert queue.client.get(job.id).state is JobState.CANCELLED


def test_an_attempt_is_taken_by_one_worker_only(queue: Queue) -> None:
    job = submit(queue)
    assert queue.lease.start(job.id, 1, "a") is not None
    assert queue.lease.start(job.id, 1, "b") is None
    assert queue.lease.start(job.id, 1, "a") is not None, "asking again after a lost reply must be harmless"
    assert queue.client.get(job.id).worker == "a"


def test_a_stale_attempt_can_publish_nothing(queue: Queue) -> None:
    job = running(queue)
    assert queue.lease.release(job.id, 1)
    assert queue.lease.start(job.id, 1, "w") is None
    assert queue.lease.start(job.id, 2, "v") is not None
    before = queue.client.get(job.id)
    assert queue.lease.heartbeat(job.id, 1, Progress(patches_done=9)) is Ownership.LOST
    assert not queue.lease.succeed(job.id, 1)
    assert not queue.lease.fail(job.id, 1, PROBLEM)
    assert not queue.lease.confirm_cancel(job.id, 1)
    assert not queue.lease.release(job.id, 1)
    assert queue.lease.retry(job.id, 1, "w", PROBLEM) is None
    assert queue.client.get(job.id) == before


def test_a_final_state_stays(queue: Queue) -> None:
    job = running(queue)
    assert queue.lease.succeed(job.id, 1, Progress(fraction=1.0))
    assert queue.lease.succeed(job.id, 1), "publishing again after a lost reply must be harmless"
    assert not queue.lease.fail(job.id, 1, PROBLEM)
    done = queue.client.get(job.id)
    assert (done.state, done.error, done.progress.fraction) == (JobState.SUCCEEDED, None, 1.0)
    assert done.created_at <= (done.started_at or 0) <= (done.finished_at or 0)


def test_a_failure_keeps_its_problem(queue: Queue) -> None:
    job = running(queue)
    assert queue.lease.fail(job.id, 1, PROBLEM)
    assert queue.client.get(job.id).error == PROBLEM


def test_a_released_job_goes_to_the_front_without_blame(queue: Queue) -> None:
    job, other = running(queue), submit(queue)
    # What the worker took out of RQ's list when it started.
    queue.lists.dequeue(job.id, 1)
    assert queue.lease.release(job.id, 1)
    again = queue.client.get(job.id)
    assert (again.state, again.attempt, again.crashes, again.worker) == (JobState.QUEUED, 2, 0, None)
    assert (queue.client.position(job.id), queue.client.position(other.id)) == (0, 1)


def test_a_released_job_that_was_to_be_cancelled_is_cancelled(queue: Queue) -> None:
    job = running(queue)
    queue.client.cancel(job.id)
    assert not queue.lease.release(job.id, 1)
    assert queue.client.get(job.id).state is JobState.CANCELLED


def test_two_crashes_without_a_new_patch_fail_the_job(queue: Queue) -> None:
    job = running(queue)
    assert queue.lease.retry(job.id, 1, "w", PROBLEM, Progress(patches_done=3)) == 2
    assert queue.lease.retry(job.id, 1, "w", PROBLEM) == 2, (
        "asking again after a lost reply must not count twice"
    )
    assert queue.lease.retry(job.id, 2, "w", PROBLEM, Progress(patches_done=3)) is None
    failed = queue.client.get(job.id)
    assert (failed.state, failed.crashes, failed.error) == (JobState.FAILED, 2, PROBLEM)


def test_a_cancelled_job_is_cancelled_even_at_its_last_crash(queue: Queue) -> None:
    job = running(queue)
    assert queue.lease.retry(job.id, 1, "w", PROBLEM) == 2
    queue.client.cancel(job.id)
    assert queue.lease.retry(job.id, 2, "w", PROBLEM) is None
    assert (queue.client.get(job.id).state, queue.client.get(job.id).error) == (JobState.CANCELLED, None)


@pytest.mark.parametrize("state", [state for state in JobState if state.is_final])
def test_a_final_state_is_never_left(queue: Queue, state: JobState) -> None:
    job = running(queue)
    ends = {
        JobState.SUCCEEDED: lambda: queue.lease.succeed(job.id, 1),
        JobState.FAILED: lambda: queue.lease.fail(job.id, 1, PROBLEM),
        JobState.CANCELLED: lambda: queue.lease.confirm_cancel(job.id, 1),
    }
    ends.pop(state)()
    over = queue.client.get(job.id)
    assert over.state is state
    assert queue.lease.start(job.id, 1, "w") is None
    assert queue.lease.heartbeat(job.id, 1, Progress(patches_done=9)) is Ownership.LOST
    assert not queue.lease.release(job.id, 1)
    assert queue.lease.retry(job.id, 1, "w", PROBLEM) is None
    assert not Reconciler(queue.redis, lost_after_s=60).reap(job.id, PROBLEM)
    assert not any(end() for end in ends.values())
    with pytest.raises(JobFinalError):
        queue.client.cancel(job.id)
    assert queue.client.get(job.id) == over


def test_crashes_are_forgiven_while_patches_get_finished(queue: Queue) -> None:
    job = running(queue)
    for attempt in range(1, 6):
        assert queue.lease.retry(job.id, attempt, "w", PROBLEM, Progress(patches_done=attempt)) == attempt + 1
    assert (queue.client.get(job.id).state, queue.client.get(job.id).crashes) == (JobState.RUNNING, 1)


def test_every_change_raises_the_revision(queue: Queue) -> None:
    job = submit(queue)
    seen = [job.revision]
    for change in (
        lambda: queue.lease.start(job.id, 1, "w"),
        lambda: queue.lease.heartbeat(job.id, 1, Progress(fraction=0.5)),
        lambda: queue.client.cancel(job.id),
        lambda: queue.lease.confirm_cancel(job.id, 1),
    ):
        change()
        seen.append(queue.client.get(job.id).revision)
    assert seen == sorted(set(seen))
