"""The API's side of the queue, on a real server, without workers."""

from dataclasses import replace

import pytest

from tests.workers.conftest import Queue
from workers.errors import IdempotencyConflictError, JobFinalError, JobNotFoundError
from workers.jobs import JobState, Problem, Progress
from workers.queue.client import JobClient
from workers.queue.lease import JobLease, Ownership
from workers.queue.reconciler import Reconciler
from workers.queue.registry import WorkerRegistry
from workers.queue.rq_lists import RqLists, rq_id
from workers.settings import WorkerSettings

from .examples import REQUEST, running, submit


def test_a_submitted_job_waits_in_its_own_directory(queue: Queue, settings: WorkerSettings) -> None:
    job = submit(queue)
    assert (job.state, job.attempt, job.request) == (JobState.QUEUED, 1, REQUEST)
    assert job.directory == str(settings.jobs_dir / job.id)
    assert queue.client.get(job.id) == job


def test_unknown_jobs_are_not_found(queue: Queue) -> None:
    for call in (queue.client.get, queue.client.cancel, queue.client.delete):
        with pytest.raises(JobNotFoundError):
            call("nobody")
    assert queue.client.position("nobody") is None


def test_listing_pages_from_newest_to_oldest(queue: Queue) -> None:
    ids = [submit(queue).id for _ in range(5)]
    seen: list[str] = []
    cursor = None
    for _ in range(3):
        page, cursor = queue.client.list(cursor=cursor, limit=2)
        seen += [job.id for job in page]
    assert cursor is None
    # Ids made within one millisecond have no order among themselves.
    assert seen == sorted(ids, reverse=True)


def test_a_page_survives_the_deletion_of_the_job_its_cursor_names(queue: Queue) -> None:
    ids = sorted((submit(queue).id for _ in range(4)), reverse=True)
    _, cursor = queue.client.list(limit=2)
    queue.client.delete(ids[1])
    page, _ = queue.client.list(cursor=cursor, limit=2)
    assert [job.id for job in page] == ids[2:]


def test_listing_by_state_and_counts_follow_the_jobs(queue: Queue) -> None:
    waiting, started = submit(queue), running(queue)
    assert [job.id for job in queue.client.list(JobState.QUEUED)[0]] == [waiting.id]
    assert [job.id for job in queue.client.list(JobState.RUNNING)[0]] == [started.id]
    assert queue.client.counts() == {**dict.fromkeys(JobState, 0), JobState.QUEUED: 1, JobState.RUNNING: 1}


def test_unfinished_names_the_jobs_that_still_read_a_slide(queue: Queue) -> None:
    over, waiting, _ = submit(queue), submit(queue), submit(queue, slide_id="other")
    queue.client.cancel(over.id)
    assert queue.client.unfinished(REQUEST.slide_id) == (waiting.id,)


def test_an_idempotency_key_gives_the_same_job_and_queues_it_once(queue: Queue) -> None:
    one, two = (queue.client.submit(REQUEST, idempotency_key="k") for _ in range(2))
    assert one == two
    assert queue.lists.listed() == {rq_id(one.id, 1)}
    assert queue.redis.llen("rq:queue:darefine") == 1


def test_an_idempotency_key_refuses_another_request(queue: Queue) -> None:
    job = queue.client.submit(REQUEST, idempotency_key="k")
    with pytest.raises(IdempotencyConflictError, match=job.id):
        queue.client.submit(replace(REQUEST, model="other"), idempotency_key="k")
    assert queue.client.submit(REQUEST, idempotency_key="k2").id != job.id


def test_an_idempotency_key_is_free_again_once_its_job_is_deleted(queue: Queue) -> None:
    job = queue.client.submit(REQUEST, idempotency_key="k")
    queue.client.delete(job.id)
    assert queue.client.submit(REQUEST, idempotency_key="k").id != job.id


def test_a_queued_job_is_cancelled_at_once_and_never_starts(queue: Queue) -> None:
    job = submit(queue)
    assert queue.client.cancel(job.id).state is JobState.CANCELLED
    assert queue.lease.start(job.id, 1, "w") is None
    with pytest.raises(JobFinalError):
        queue.client.cancel(job.id)


def test_a_deleted_job_is_gone_everywhere(queue: Queue) -> None:
    job = running(queue)
    queue.client.delete(job.id, wait_s=0)
    assert queue.client.list() == ((), None)
    assert set(queue.client.counts().values()) == {0}
    assert queue.lease.heartbeat(job.id, 1) is Ownership.LOST
    assert not queue.lease.succeed(job.id, 1)
    with pytest.raises(JobNotFoundError):
        queue.client.get(job.id)


def public(part: type) -> set[str]:
    """The names of a class that are meant for others."""
    return {name for name in vars(part) if not name.startswith("_")}


def test_the_api_can_do_nothing_that_is_a_workers_or_the_supervisors() -> None:
    assert public(JobClient).isdisjoint(public(JobLease) | public(Reconciler))
    assert public(JobClient) & public(WorkerRegistry) == {"models", "workers"}, "it reads them"
    assert public(JobClient) & public(RqLists) == {"position"}


def test_a_job_is_found_by_what_it_has_done_once_it_has_succeeded(queue: Queue) -> None:
    job = queue.client.submit(REQUEST, work="w")
    assert queue.client.succeeded("w") is None
    queue.lease.start(job.id, 1, "worker")
    queue.lease.succeed(job.id, 1, Progress(fraction=1.0))
    assert queue.client.succeeded("w") is None, "its result is not there"
    job.files.directory.mkdir(parents=True)
    job.files.result.write_text("{}")
    found = queue.client.succeeded("w")
    assert found is not None
    assert found.id == job.id
    failed = queue.client.submit(REQUEST, work="w")
    queue.lease.start(failed.id, 1, "worker")
    queue.lease.fail(failed.id, 1, Problem("x", "x", "x"))
    assert queue.client.succeeded("w") == found
    queue.client.delete(job.id)
    assert queue.client.succeeded("w") is None


def test_a_key_finds_its_job_when_the_model_has_other_weights(queue: Queue) -> None:
    jobs = [
        queue.client.submit(replace(REQUEST, model_sha256=digest * 32), idempotency_key="k")
        for digest in ("01", "02")
    ]
    assert jobs[0] == jobs[1]
    assert jobs[0].request.model_sha256 == "01" * 32
