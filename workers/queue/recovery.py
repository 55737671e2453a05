"""Keep requests of jobs beside their files, and rebuild records from those when the queue has lost them."""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from redis import Redis

from wsi.atomic import flush_folder

from ..errors import RecordInvalidError
from ..jobs import Job, JobFiles, JobRequest, JobState, Progress, is_job_id
from .records import (
    ALL_JOBS,
    decode_request,
    encode_job,
    encode_request,
    job_key,
    own_fields,
    state_key,
)
from .rq_lists import RqLists

logger = logging.getLogger(__name__)

T = TypeVar("T")

BATCH = 200
"""Records looked up or written at once."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """Outcome of a recovery: ids of jobs, and folders that belong to none."""

    finished: tuple[str, ...]
    """Listed again, as succeeded."""
    queued: tuple[str, ...]
    """Queued again; they go on from the patches they have stored."""
    known: int
    """Number of jobs whose records were there."""
    orphans: tuple[Path, ...]
    """Folders without a record that do not say what job they are of: it failed, was cancelled or deleted."""


def keep_request(job: Job) -> None:
    """Write what a new job asks for beside its folder, and flush it to disk.

    A power cut may take the record, which the queue flushes once a second; then this brings the job back. A
    disk that does not take it keeps nobody from submitting: the record counts.
    """
    text = json.dumps({"created_at": job.created_at, "request": encode_request(job.request)})
    path = job.files.request
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # In place: one that is torn is of a job that nobody was promised.
        with path.open("w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        flush_folder(path.parent)
    except OSError as error:
        logger.warning("job %s could not be recovered if the queue were lost: %s", job.id, error)


def forget_request(files: JobFiles) -> None:
    """Remove what `keep_request` wrote, of a job that is not to come back: failed, cancelled or deleted."""
    with suppress(OSError):
        files.request.unlink(missing_ok=True)


def recover_jobs(redis: Redis, jobs_root: Path) -> Recovered:
    """List the jobs again that lie in `jobs_root` and have no record; known jobs are left as they are.

    Those with a result have succeeded, the others are queued as a second attempt.

    Raises:
        redis.exceptions.RedisError: the queue server does not answer.
    """
    names = {path.name.removesuffix(".json") for path in jobs_root.glob("*")}
    folders = [jobs_root / name for name in sorted(filter(is_job_id, names))]
    unlisted = [folder for batch in _batches(folders) for folder in _without_record(redis, batch)]
    told = {folder: job_in(folder) for folder in unlisted}
    jobs = [job for job in told.values() if job is not None]
    lists = RqLists(redis)
    for batch in _batches(jobs):
        write_jobs(redis, batch)
        for job in batch:
            if job.state is JobState.QUEUED:
                lists.enqueue(job.id, job.attempt)
    finished, queued = (
        tuple(job.id for job in jobs if job.state is state) for state in (JobState.SUCCEEDED, JobState.QUEUED)
    )
    orphans = tuple(folder for folder, job in told.items() if job is None)
    return Recovered(finished, queued, len(folders) - len(unlisted), orphans)


def _without_record(redis: Redis, folders: Sequence[Path]) -> list[Path]:
    pipeline = redis.pipeline(transaction=False)
    for folder in folders:
        pipeline.exists(job_key(folder.name))
    return [folder for folder, known in zip(folders, pipeline.execute(), strict=True) if not known]


def job_in(folder: Path) -> Job | None:
    """Return the job of a folder as its files tell it; None if they do not."""
    files = JobFiles(folder)
    try:
        kept = json.loads(files.request.read_text(encoding="ascii"))
        job = _queued(folder, decode_request(kept["request"]), float(kept["created_at"]))
        result = json.loads(files.result.read_text(encoding="ascii")) if files.result.exists() else None
        return job if result is None else _succeeded(job, result)
    except (OSError, ValueError, KeyError, TypeError, RecordInvalidError) as error:
        logger.warning("%s does not say what job it is of: %s", folder.name, error)
        return None


def _queued(folder: Path, request: JobRequest, created_at: float) -> Job:
    return Job(
        id=folder.name,
        state=JobState.QUEUED,
        request=request,
        directory=str(folder),
        progress=Progress(),
        attempt=2,
        crashes=0,
        created_at=created_at,
        started_at=None,
        finished_at=None,
        worker=None,
        cancel_requested=False,
        error=None,
        revision=0,
    )


def _succeeded(job: Job, result: dict[str, Any]) -> Job:
    started, finished = (
        datetime.fromisoformat(result[name]).timestamp() for name in ("started_at", "finished_at")
    )
    patches = int(result["patches"])
    return replace(
        job,
        state=JobState.SUCCEEDED,
        progress=Progress(fraction=1.0, stage="done", patches_done=patches, patches_total=patches),
        attempt=int(result["job"]["attempt"]),
        started_at=started,
        finished_at=finished,
    )


def write_jobs(redis: Redis, jobs: Sequence[Job]) -> None:
    """Write the records of jobs that the queue does not know, and list them; queue none."""
    pipeline = redis.pipeline(transaction=True)
    for job in jobs:
        fields: dict[Any, Any] = {**encode_job(job), **own_fields(job.request)}
        pipeline.hset(job_key(job.id), mapping=fields)
        pipeline.zadd(ALL_JOBS, {job.id: 0})
        pipeline.zadd(state_key(job.state), {job.id: 0})
    pipeline.execute()


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
