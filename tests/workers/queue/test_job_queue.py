"""The queue as API and workers use it, on a real server, without workers."""

from dataclasses import replace
from pathlib import Path

import pytest

from workers.errors import IdempotencyConflictError, JobFinalError, JobNotFoundError
from workers.jobs import Job, JobRequest, JobState, Problem, Progress
from workers.queue.job_queue import JobQueue, Ownership
from workers.queue.registry import WorkerInfo, WorkerState

ROOT = Path("/jobs")
REQUEST = JobRequest(slide_id="slide", slide_name="a.svs", slide_path="/slides/a.svs", model="stand-in")
PROBLEM = Problem("slide-unreadable", "Not a slide", "Send a slide.")


def submit(queue: JobQueue, **changes: object) -> Job:
    """A new job."""
    return queue.submit(replace(REQUEST, **changes), jobs_root=ROOT)


def running(queue: JobQueue) -> Job:
    """A job that worker `w` runs."""
    job = queue.start(submit(queue).id, 1, "w")
    assert job is not None
    return job


def test_a_submitted_job_waits_in_its_own_directory(queue: JobQueue) -> None:
    job = submit(queue)
    assert (job.state, job.attempt, job.request) == (JobState.QUEUED, 1, REQUEST)
    assert job.directory == str(ROOT / job.id)
    assert queue.get(job.id) == job


def test_unknown_jobs_are_not_found(queue: JobQueue) -> None:
    for call in (queue.get, queue.cancel, queue.delete):
        with pytest.raises(JobNotFoundError):
            call("nobody")
    assert queue.position("nobody") is None


def test_high_priority_goes_first_and_jobs_of_one_priority_in_the_order_they_came(queue: JobQueue) -> None:
    normal = [submit(queue) for _ in range(2)]
    high = [submit(queue, priority="high") for _ in range(3)]
    order = [*high, *normal]
    assert [queue.position(job.id) for job in order] == [0, 1, 2, 3, 4]
    queue.cancel(high[1].id)
    assert [queue.position(job.id) for job in order] == [0, None, 1, 2, 3]


def test_a_job_given_back_goes_before_its_own_priority_only(queue: JobQueue) -> None:
    given_back = running(queue)
    queue.dequeue(given_back.id, 1)
    high, normal = submit(queue, priority="high"), submit(queue)
    assert queue.release(given_back.id, 1)
    assert [queue.position(job.id) for job in (high, given_back, normal)] == [0, 1, 2]


def test_a_worker_takes_jobs_in_the_order_of_their_positions(queue: JobQueue, bench, workers) -> None:
    jobs = [bench.submit(priority=priority, patches=1) for priority in ("normal", "normal", "high", "high")]
    expected = sorted(jobs, key=lambda job: queue.position(job.id))
    assert [job.request.priority for job in expected] == ["high", "high", "normal", "normal"]
    workers.start()
    done = [bench.wait(job, JobState.SUCCEEDED) for job in jobs]
    assert [job.id for job in sorted(done, key=lambda job: job.started_at)] == [job.id for job in expected]


def test_a_job_deleted_meanwhile_is_not_queued(queue: JobQueue) -> None:
    queue.enqueue("nobody", 1)
    assert queue.listed() == set()


def test_listing_pages_from_newest_to_oldest(queue: JobQueue) -> None:
    ids = [submit(queue).id for _ in range(5)]
    seen: list[str] = []
    cursor = None
    for _ in range(3):
        page, cursor = queue.list(cursor=cursor, limit=2)
        seen += [job.id for job in page]
    assert cursor is None
    # Ids made within one millisecond have no order among themselves.
    assert seen == sorted(ids, reverse=True)


def test_a_page_survives_the_deletion_of_the_job_its_cursor_names(queue: JobQueue) -> None:
    ids = sorted((submit(queue).id for _ in range(4)), reverse=True)
    _, cursor = queue.list(limit=2)
    queue.delete(ids[1])
    page, _ = queue.list(cursor=cursor, limit=2)
    assert [job.id for job in page] == ids[2:]


def test_listing_by_state_and_counts_follow_the_jobs(queue: JobQueue) -> None:
    waiting, started = submit(queue), running(queue)
    assert [job.id for job in queue.list(JobState.QUEUED)[0]] == [waiting.id]
    assert [job.id for job in queue.list(JobState.RUNNING)[0]] == [started.id]
    assert queue.counts() == {**dict.fromkeys(JobState, 0), JobState.QUEUED: 1, JobState.RUNNING: 1}


def test_unfinished_names_the_jobs_that_still_read_a_slide(queue: JobQueue) -> None:
    over, waiting, _ = submit(queue), submit(queue), submit(queue, slide_id="other")
    queue.cancel(over.id)
    assert queue.unfinished("slide") == (waiting.id,)


def test_waiting_jobs_come_in_the_order_in_which_workers_take_them(queue: JobQueue) -> None:
    first, gone, second = submit(queue), submit(queue), submit(queue)
    running(queue)
    urgent = submit(queue, priority="high")
    queue.redis.delete(f"darefine:job:{gone.id}")
    assert [job.id for job in queue.waiting(9)] == [urgent.id, first.id, second.id]
    assert [job.id for job in queue.waiting(2)] == [urgent.id, first.id]
    assert queue.waiting(9) == queue.waiting(9), "takes none"


def test_an_idempotency_key_gives_the_same_job_and_queues_it_once(queue: JobQueue) -> None:
    one, two = (queue.submit(REQUEST, jobs_root=ROOT, idempotency_key="k") for _ in range(2))
    assert one == two
    assert queue.rq["normal"].count == 1


def test_an_idempotency_key_refuses_another_request(queue: JobQueue) -> None:
    job = queue.submit(REQUEST, jobs_root=ROOT, idempotency_key="k")
    with pytest.raises(IdempotencyConflictError, match=job.id):
        queue.submit(replace(REQUEST, model="other"), jobs_root=ROOT, idempotency_key="k")
    assert queue.submit(REQUEST, jobs_root=ROOT, idempotency_key="k2").id != job.id


def test_an_idempotency_key_is_free_again_once_its_job_is_deleted(queue: JobQueue) -> None:
    job = queue.submit(REQUEST, jobs_root=ROOT, idempotency_key="k")
    queue.delete(job.id)
    assert queue.submit(REQUEST, jobs_root=ROOT, idempotency_key="k").id != job.id


def test_a_queued_job_is_cancelled_at_once_and_never_starts(queue: JobQueue) -> None:
    job = submit(queue)
    assert queue.cancel(job.id).state is JobState.CANCELLED
    assert queue.start(job.id, 1, "w") is None
    with pytest.raises(JobFinalError):
        queue.cancel(job.id)


def test_cancelling_a_running_job_tells_its_worker(queue: JobQueue) -> None:
    job = running(queue)
    assert queue.heartbeat(job.id, 1) is Ownership.HELD
    assert queue.cancel(job.id).cancel_requested
    assert queue.heartbeat(job.id, 1) is Ownership.CANCEL_REQUESTED
    assert queue.confirm_cancel(job.id, 1)
    assert queue.get(job.id).state is JobState.CANCELLED


def test_a_deleted_job_is_gone_everywhere(queue: JobQueue) -> None:
    job = running(queue)
    queue.delete(job.id, wait_s=0)
    assert queue.list() == ((), None)
    assert set(queue.counts().values()) == {0}
    assert queue.heartbeat(job.id, 1) is Ownership.LOST
    assert not queue.succeed(job.id, 1)
    with pytest.raises(JobNotFoundError):
        queue.get(job.id)


def test_an_attempt_is_taken_by_one_worker_only(queue: JobQueue) -> None:
    job = submit(queue)
    assert queue.start(job.id, 1, "a") is not None
    assert queue.start(job.id, 1, "b") is None
    assert queue.start(job.id, 1, "a") is not None, "asking again after a lost reply must be harmless"
    assert queue.get(job.id).worker == "a"


def test_a_stale_attempt_can_publish_nothing(queue: JobQueue) -> None:
    job = running(queue)
    assert queue.release(job.id, 1)
    assert queue.start(job.id, 1, "w") is None
    assert queue.start(job.id, 2, "v") is not None
    before = queue.get(job.id)
    assert queue.heartbeat(job.id, 1, Progress(patches_done=9)) is Ownership.LOST
    assert not queue.succeed(job.id, 1)
    assert not queue.fail(job.id, 1, PROBLEM)
    assert not queue.confirm_cancel(job.id, 1)
    assert not queue.release(job.id, 1)
    assert queue.retry(job.id, 1, "w", PROBLEM) is None
    assert queue.get(job.id) == before


def test_a_final_state_stays(queue: JobQueue) -> None:
    job = running(queue)
    assert queue.succeed(job.id, 1, Progress(fraction=1.0))
    assert queue.succeed(job.id, 1), "publishing again after a lost reply must be harmless"
    assert not queue.fail(job.id, 1, PROBLEM)
    done = queue.get(job.id)
    assert (done.state, done.error, done.progress.fraction) == (JobState.SUCCEEDED, None, 1.0)
    assert done.created_at <= (done.started_at or 0) <= (done.finished_at or 0)


def test_a_failure_keeps_its_problem(queue: JobQueue) -> None:
    job = running(queue)
    assert queue.fail(job.id, 1, PROBLEM)
    assert queue.get(job.id).error == PROBLEM


def test_a_released_job_goes_to_the_front_without_blame(queue: JobQueue) -> None:
    job, other = running(queue), submit(queue)
    # What the worker took out of RQ's list when it started.
    queue.dequeue(job.id, 1)
    assert queue.release(job.id, 1)
    again = queue.get(job.id)
    assert (again.state, again.attempt, again.crashes, again.worker) == (JobState.QUEUED, 2, 0, None)
    assert (queue.position(job.id), queue.position(other.id)) == (0, 1)


def test_a_released_job_that_was_to_be_cancelled_is_cancelled(queue: JobQueue) -> None:
    job = running(queue)
    queue.cancel(job.id)
    assert not queue.release(job.id, 1)
    assert queue.get(job.id).state is JobState.CANCELLED


def test_two_crashes_without_a_new_patch_fail_the_job(queue: JobQueue) -> None:
    job = running(queue)
    assert queue.retry(job.id, 1, "w", PROBLEM, Progress(patches_done=3)) == 2
    assert queue.retry(job.id, 1, "w", PROBLEM) == 2, "asking again after a lost reply must not count twice"
    assert queue.retry(job.id, 2, "w", PROBLEM, Progress(patches_done=3)) is None
    failed = queue.get(job.id)
    assert (failed.state, failed.crashes, failed.error) == (JobState.FAILED, 2, PROBLEM)


def test_a_cancelled_job_is_cancelled_even_at_its_last_crash(queue: JobQueue) -> None:
    job = running(queue)
    assert queue.retry(job.id, 1, "w", PROBLEM) == 2
    queue.cancel(job.id)
    assert queue.retry(job.id, 2, "w", PROBLEM) is None
    assert (queue.get(job.id).state, queue.get(job.id).error) == (JobState.CANCELLED, None)


@pytest.mark.parametrize("state", [state for state in JobState if state.is_final])
def test_a_final_state_is_never_left(queue: JobQueue, state: JobState) -> None:
    job = running(queue)
    ends = {
        JobState.SUCCEEDED: lambda: queue.succeed(job.id, 1),
        JobState.FAILED: lambda: queue.fail(job.id, 1, PROBLEM),
        JobState.CANCELLED: lambda: queue.confirm_cancel(job.id, 1),
    }
    ends.pop(state)()
    over = queue.get(job.id)
    assert over.state is state
    assert queue.start(job.id, 1, "w") is None
    assert queue.heartbeat(job.id, 1, Progress(patches_done=9)) is Ownership.LOST
    assert not queue.release(job.id, 1)
    assert queue.retry(job.id, 1, "w", PROBLEM) is None
    assert not queue.reap(job.id, PROBLEM)
    assert not any(end() for end in ends.values())
    with pytest.raises(JobFinalError):
        queue.cancel(job.id)
    assert queue.get(job.id) == over


def test_crashes_are_forgiven_while_patches_get_finished(queue: JobQueue) -> None:
    job = running(queue)
    for attempt in range(1, 6):
        assert queue.retry(job.id, attempt, "w", PROBLEM, Progress(patches_done=attempt)) == attempt + 1
    assert (queue.get(job.id).state, queue.get(job.id).crashes) == (JobState.RUNNING, 1)


def test_every_change_raises_the_revision(queue: JobQueue) -> None:
    job = submit(queue)
    seen = [job.revision]
    for change in (
        lambda: queue.start(job.id, 1, "w"),
        lambda: queue.heartbeat(job.id, 1, Progress(fraction=0.5)),
        lambda: queue.cancel(job.id),
        lambda: queue.confirm_cancel(job.id, 1),
    ):
        change()
        seen.append(queue.get(job.id).revision)
    assert seen == sorted(set(seen))


def test_workers_without_a_model_are_announced_but_not_live(queue: JobQueue) -> None:
    ready = WorkerInfo("a", WorkerState.IDLE, "cpu", "float32", ("m",), 1.0)
    broken = WorkerInfo("b", WorkerState.FAILED, None, None, (), 2.0, PROBLEM)
    for info in (ready, broken):
        queue.announce(info, ttl_s=60)
    assert queue.workers() == (ready, broken)
    assert queue.live_workers() == (ready,)
    queue.withdraw("a")
    assert queue.live_workers() == ()


def test_published_models_are_listed_with_their_default(queue: JobQueue) -> None:
    assert queue.models().default is None
    queue.publish_models("b", ('{"name": "a"}', '{"name": "b"}'))
    assert queue.models().default == "b"
    assert queue.models().cards == ({"name": "a"}, {"name": "b"})
