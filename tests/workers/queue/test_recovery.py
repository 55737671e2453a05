"""Records rebuilt from the folders of jobs, after a queue server that knows nothing any more."""

import json
import os

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.workers.conftest import Queue
from workers.jobs import Job, JobState
from workers.queue.recovery import recover_jobs
from workers.settings import WorkerSettings

from .examples import REQUEST, running, submit

RESULT = {
    "job": {"attempt": 3},
    "patches": 7,
    "started_at": "2026-03-02T09:14:05+00:00",
    "finished_at": "2026-03-02T09:15:40+00:00",
}


def finish(job: Job) -> Job:
    job.files.directory.mkdir()
    job.files.result.write_text(json.dumps(RESULT), encoding="ascii")
    return job


def lost(settings: WorkerSettings) -> Redis:
    """The queue server, emptied."""
    assert settings.redis_url
    redis = Redis.from_url(settings.redis_url)
    redis.flushall()
    return redis


def test_finished_jobs_are_listed_again_as_they_were(queue: Queue, settings: WorkerSettings) -> None:
    jobs = [finish(submit(queue)) for _ in range(3)]
    found = recover_jobs(lost(settings), settings.jobs_dir)
    assert sorted(found.finished) == sorted(job.id for job in jobs)
    again = queue.client.get(jobs[0].id)
    assert (again.state, again.request, again.attempt) == (JobState.SUCCEEDED, REQUEST, 3)
    assert again.finished_at == again.started_at + 95 if again.started_at else False
    assert abs(again.created_at - jobs[0].created_at) < 60
    assert again.progress.patches_done == 7
    assert len(queue.client.list(JobState.SUCCEEDED)[0]) == 3


def test_waiting_and_running_jobs_are_queued_again(queue: Queue, settings: WorkerSettings) -> None:
    ids = {submit(queue).id, running(queue).id}
    found = recover_jobs(lost(settings), settings.jobs_dir)
    assert set(found.queued) == ids
    assert {queue.client.position(job_id) for job_id in ids} == {0, 1}


def test_a_job_that_is_known_is_left_alone(queue: Queue, settings: WorkerSettings) -> None:
    job = running(queue)
    assert settings.redis_url
    found = recover_jobs(Redis.from_url(settings.redis_url), settings.jobs_dir)
    assert (found.known, found.queued, found.finished, found.orphans) == (1, (), (), ())
    assert queue.client.get(job.id) == job


def test_cancelled_jobs_do_not_come_back(queue: Queue, settings: WorkerSettings) -> None:
    job = submit(queue)
    queue.client.cancel(job.id)
    found = recover_jobs(lost(settings), settings.jobs_dir)
    assert (found.finished, found.queued) == ((), ())


def test_deleted_jobs_do_not_come_back(queue: Queue, settings: WorkerSettings) -> None:
    job = finish(submit(queue))
    queue.client.delete(job.id)
    found = recover_jobs(lost(settings), settings.jobs_dir)
    assert found.finished == ()
    assert found.orphans == (job.files.directory,)


def test_folders_that_tell_nothing_are_orphans_and_others_are_passed_over(
    queue: Queue, settings: WorkerSettings
) -> None:
    broken, half = submit(queue), finish(submit(queue))
    broken.files.request.write_text("{", encoding="ascii")
    half.files.result.write_text("{}", encoding="ascii")
    (settings.jobs_dir / "notes").mkdir()
    found = recover_jobs(lost(settings), settings.jobs_dir)
    assert set(found.orphans) == {settings.jobs_dir / broken.id, settings.jobs_dir / half.id}
    assert (found.finished, found.queued) == ((), ())


def test_what_a_job_asks_for_is_on_the_disk_before_its_sender_is_told(
    queue: Queue, settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: set[int] = set()
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.add(os.fstat(descriptor).st_ino))
    job = submit(queue)
    assert {job.files.request.stat().st_ino, settings.jobs_dir.stat().st_ino} <= flushed


def test_a_deletion_that_is_cut_off_brings_no_job_back(
    queue: Queue, settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = finish(running(queue))
    assert queue.lease.succeed(job.id, 1)

    def gone(**_: object) -> None:
        lost(settings)
        raise RedisConnectionError

    monkeypatch.setattr(queue.client, "_delete", gone)
    with pytest.raises(RedisConnectionError):
        queue.client.delete(job.id)
    assert recover_jobs(lost(settings), settings.jobs_dir).finished == ()
