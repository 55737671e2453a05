"""Fill a service's store with finished jobs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from workers.jobs import JobState, Progress, new_job_id
from workers.queue.client import JobClient
from workers.queue.connection import connect
from workers.queue.recovery import write_jobs
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
            write_jobs(redis, [replace(job, id=one) for one in ids[start : start + BATCH]])
            show("store", start / stored)
    return ids[stored // 2]
