"""Fill a service's store with finished jobs."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from redis import Redis

from workers.jobs import Job, JobState, Progress, new_job_id
from workers.queue.client import JobClient
from workers.queue.connection import connect
from workers.queue.records import ALL_JOBS, encode_job, job_key, state_key
from workers.supervisor.valkey import EmbeddedValkey

BATCH = 500


def fill(data_dir: Path, job_id: str, stored: int, show: Callable[[str, float], None]) -> str:
    """Put finished jobs like job `job_id` into the store; return the id of one in their middle.

    Args:
        data_dir: of a running service with an embedded queue.
        job_id: of a job that it knows.
        stored: how many.
        show: told what is done, and which share of it.
    """
    ids = [new_job_id() for _ in range(stored)]
    with connect(EmbeddedValkey(data_dir / "queue").url) as redis:
        job = JobClient(redis, data_dir / "jobs").get(job_id)
        done = Progress(fraction=1.0, stage="done")
        job = replace(job, state=JobState.SUCCEEDED, progress=done, finished_at=job.created_at)
        for start in range(0, stored, BATCH):
            _store(redis, [replace(job, id=one) for one in ids[start : start + BATCH]])
            show("store", start / stored)
    return ids[stored // 2]


def _store(redis: Redis, jobs: Sequence[Job]) -> None:
    pipeline = redis.pipeline(transaction=False)
    for job in jobs:
        fields: dict[Any, Any] = dict(encode_job(job))
        pipeline.hset(job_key(job.id), mapping=fields)
        pipeline.zadd(ALL_JOBS, {job.id: 0})
        pipeline.zadd(state_key(job.state), {job.id: 0})
    pipeline.execute()
