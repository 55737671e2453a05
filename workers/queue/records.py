"""Read job records from Redis: key names, codecs between a record and its Redis hash, lookups.

Records are written by the scripts of `workers.queue.lua` alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from redis import Redis

from ..errors import JobNotFoundError, RecordInvalidError
from ..jobs import Job, JobRequest, JobState, Problem, Progress
from .codec import JsonCodec
from .connection import text

PREFIX = "darefine:"
"""What the names of all keys but RQ's begin with; the layout is in `workers.queue.lua`."""

ALL_JOBS = f"{PREFIX}jobs"
"""Sorted set of the ids of all jobs."""

_REQUEST = JsonCodec(JobRequest)
_PROGRESS = JsonCodec(Progress)
_PROBLEM = JsonCodec(Problem)


def job_key(job_id: str) -> str:
    """Return the key of a job's record."""
    return f"{PREFIX}job:{job_id}"


def state_key(state: JobState) -> str:
    """Return the key of the sorted set of ids of the jobs in a state."""
    return f"{ALL_JOBS}:{state}"


def encode_request(request: JobRequest) -> str:
    """Return a request as JSON text; equal requests give equal text.

    Raises:
        RecordInvalidError: the text could not be read back, as with a path that is not Unicode.
    """
    encoded = _REQUEST.to_json(request, sort_keys=True)
    _REQUEST.from_json(encoded)
    return encoded


def decode_request(encoded: str) -> JobRequest:
    """Read a request from JSON text.

    Raises:
        RecordInvalidError: it is not of the expected form.
    """
    return _REQUEST.from_json(encoded)


def encode_problem(problem: Problem) -> str:
    """Return a problem as JSON text.

    What is not Unicode in its detail, such as a file's name, becomes question marks: no reader would take it.
    """
    return _PROBLEM.to_json(replace(problem, detail=problem.detail.encode(errors="replace").decode()))


def progress_arguments(progress: Progress | None) -> tuple[str, int]:
    """Return the two arguments with which scripts save progress.

    They are JSON text, '' for none, and the number of finished patches.
    """
    return (_PROGRESS.to_json(progress), progress.patches_done) if progress else ("", 0)


def encode_job(job: Job) -> dict[str, str]:
    """Return a record as a flat Redis hash; members that are None are left out.

    Raises:
        RecordInvalidError: the request could not be read back.
    """
    fields: dict[str, str | None] = {
        "id": job.id,
        "state": job.state,
        "request": encode_request(job.request),
        "directory": job.directory,
        "progress": _PROGRESS.to_json(job.progress),
        "attempt": str(job.attempt),
        "crashes": str(job.crashes),
        "created_at": repr(job.created_at),
        "started_at": None if job.started_at is None else repr(job.started_at),
        "finished_at": None if job.finished_at is None else repr(job.finished_at),
        "worker": job.worker,
        "cancel_requested": "1" if job.cancel_requested else None,
        "error": None if job.error is None else encode_problem(job.error),
        "revision": str(job.revision),
    }
    return {name: value for name, value in fields.items() if value is not None}


def decode_job(fields: Mapping[str, str]) -> Job:
    """Read a record from its Redis hash; unknown fields are the queue's own and are ignored.

    Raises:
        RecordInvalidError: a field is missing or is not of the expected form.
    """
    started, finished, problem = (fields.get(name) for name in ("started_at", "finished_at", "error"))
    try:
        return Job(
            id=fields["id"],
            state=JobState(fields["state"]),
            request=decode_request(fields["request"]),
            directory=fields["directory"],
            progress=_PROGRESS.from_json(fields["progress"]),
            attempt=int(fields["attempt"]),
            crashes=int(fields["crashes"]),
            created_at=float(fields["created_at"]),
            started_at=float(started) if started else None,
            finished_at=float(finished) if finished else None,
            worker=fields.get("worker"),
            cancel_requested="cancel_requested" in fields,
            error=_PROBLEM.from_json(problem) if problem else None,
            revision=int(fields["revision"]),
        )
    except (KeyError, ValueError) as error:
        raise RecordInvalidError.of(f"The record of job {fields.get('id', '?')}", error) from error


class JobRecords:
    """Job records by id, read only."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def get(self, job_id: str) -> Job:
        """Return the record of a job.

        Raises:
            JobNotFoundError: there is none.
            RecordInvalidError: it cannot be read.
        """
        fields = self._redis.hgetall(job_key(job_id))
        if not fields:
            raise JobNotFoundError(job_id)
        return _decode_reply(fields)

    def get_many(self, job_ids: Iterable[str]) -> tuple[Job, ...]:
        """Return the records of jobs in the order of their ids; those deleted meanwhile are left out.

        Raises:
            RecordInvalidError: one cannot be read.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipeline.hgetall(job_key(job_id))
        return tuple(_decode_reply(fields) for fields in pipeline.execute() if fields)


def _decode_reply(fields: Mapping[Any, Any]) -> Job:
    return decode_job({text(name): text(value) for name, value in fields.items()})
