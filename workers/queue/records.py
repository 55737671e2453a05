"""Read job records from Redis: key names, codecs between a record and its Redis hash, lookups.

Records are written by the scripts of `workers.queue.lua`, or by whoever else reaches Redis: nothing in them
is believed. Ids have one form, paths are made of ids by the reader, and a record that cannot be read counts
as a job that failed.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from redis import Redis

from ..errors import JobNotFoundError, RecordInvalidError
from ..identity import LabelIdentity
from ..jobs import LAST_MOMENT, Job, JobRequest, JobState, Problem, Progress, is_job_id
from .codec import JsonCodec
from .connection import text

PREFIX = "darefine:"
"""What the names of all keys but RQ's begin with; the layout is in `workers.queue.lua`."""

ALL_JOBS = f"{PREFIX}jobs"
"""Sorted set of the ids of all jobs."""

SCHEMA = 2
"""Version of the form of records. Version 0.1.0 of the software wrote none, and believed the paths in them.

Readers pass over members that they do not know, from 2 on, so versions may be mixed and rolled back that far.
Readers of 1 refuse such members: records of 1 are read here, not the other way round.
"""

logger = logging.getLogger(__name__)

_REQUEST = JsonCodec(JobRequest)
_PROGRESS = JsonCodec(Progress)
_PROBLEM = JsonCodec(Problem)


def job_key(job_id: str) -> str:
    """Return the key of a job's record."""
    return f"{PREFIX}job:{job_id}"


def state_key(state: JobState) -> str:
    """Return the key of the sorted set of ids of the jobs in a state."""
    return f"{ALL_JOBS}:{state}"


def slide_key(slide_id: str) -> str:
    """Return the key of the set of ids of the jobs on a slide that are not over."""
    return f"{PREFIX}slide:{slide_id}"


def encode_request(request: JobRequest) -> str:
    """Return a request as JSON text; equal requests give equal text.

    Raises:
        RecordInvalidError: the text could not be read back, as with a path that is not Unicode.
    """
    encoded = _REQUEST.to_json(request, sort_keys=True)
    _REQUEST.from_json(encoded)
    return encoded


def own_fields(request: JobRequest) -> dict[str, str]:
    """Return the members of a record that are copies out of its request, for scripts to read."""
    fields = {"slide": request.slide_id, "priority": request.priority}
    return fields | ({"model_sha256": request.model_sha256} if request.model_sha256 else {})


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
        "schema": str(SCHEMA),
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


def decode_job(job_id: str, fields: Mapping[str, str], jobs_root: Path) -> Job:
    """Read the record of job `job_id` from its Redis hash, whatever id and directory it states.

    Unknown fields are the queue's own, or a later version's, and are ignored.

    Raises:
        RecordInvalidError: a field is missing or is not of the expected form.
    """
    started, finished, problem = (fields.get(name) for name in ("started_at", "finished_at", "error"))
    try:
        return Job(
            id=job_id,
            state=JobState(fields["state"]),
            request=decode_request(fields["request"]),
            directory=str(jobs_root / job_id),
            progress=_PROGRESS.from_json(fields["progress"]),
            attempt=count_of(fields["attempt"]),
            crashes=count_of(fields["crashes"]),
            created_at=moment_of(fields["created_at"]),
            started_at=moment_of(started) if started else None,
            finished_at=moment_of(finished) if finished else None,
            worker=fields.get("worker"),
            cancel_requested="cancel_requested" in fields,
            error=_PROBLEM.from_json(problem) if problem else None,
            revision=count_of(fields["revision"]),
        )
    except (KeyError, ValueError) as error:
        raise RecordInvalidError.of(f"The record of job {job_id}", error) from error


def record_problem(error: RecordInvalidError) -> Problem:
    """Return the problem of a job whose record cannot be read."""
    return Problem("record-invalid", "The record of the job cannot be read", str(error))


def unreadable_job(job_id: str, jobs_root: Path, error: RecordInvalidError) -> Job:
    """Return what a job whose record cannot be read counts as: one that failed."""
    return Job(
        id=job_id,
        state=JobState.FAILED,
        request=JobRequest(slide_id="", slide_name="", slide_path="", model=""),
        directory=str(jobs_root / job_id),
        progress=Progress(),
        attempt=0,
        crashes=0,
        created_at=0.0,
        started_at=None,
        finished_at=0.0,
        worker=None,
        cancel_requested=False,
        error=record_problem(error),
        revision=0,
    )


def count_of(value: str) -> int:
    """Read a number of something.

    Raises:
        ValueError: it is none.
    """
    if not value.isascii() or not value.isdigit() or len(value) > 15:
        raise ValueError(f"{value[:40]!r} is no count")
    return int(value)


def moment_of(value: str) -> float:
    """Read a time in Unix seconds.

    Raises:
        ValueError: it is none, or has no date.
    """
    seconds = float(value)
    if not 0 <= seconds <= LAST_MOMENT:
        raise ValueError(f"{value[:40]!r} is no time")
    return seconds


class JobRecords:
    """Job records by id, read only; job `id` keeps its files in `jobs_root/<id>`."""

    def __init__(self, redis: Redis, jobs_root: Path) -> None:
        self._redis = redis
        self._jobs_root = jobs_root

    def get(self, job_id: str) -> Job:
        """Return the record of a job; a job that failed if it cannot be read.

        Raises:
            JobNotFoundError: there is none.
        """
        try:
            return self.read(job_id)
        except RecordInvalidError as error:
            return unreadable_job(job_id, self._jobs_root, error)

    def read(self, job_id: str) -> Job:
        """Return the record of a job.

        Raises:
            JobNotFoundError: there is none.
            RecordInvalidError: it cannot be read.
        """
        fields = self._redis.hgetall(job_key(job_id)) if is_job_id(job_id) else None
        if not fields:
            raise JobNotFoundError(job_id)
        return self._decode(job_id, fields)

    def identity(self, job_id: str) -> LabelIdentity | None:
        """Return what makes the labels of a job; None before its first start, and if it cannot be read."""
        encoded = self._redis.hget(job_key(job_id), "identity")
        try:
            return None if encoded is None else LabelIdentity.from_json(text(encoded))
        except RecordInvalidError as error:
            logger.warning("job %s: %s", job_id, error)
            return None

    def get_many(self, job_ids: Iterable[str]) -> tuple[Job, ...]:
        """Return the records of jobs in the order of their ids, as `get` does.

        Those deleted meanwhile are left out, and what has not the form of an id.
        """
        ids = [job_id for job_id in job_ids if is_job_id(job_id)]
        pipeline = self._redis.pipeline(transaction=False)
        for job_id in ids:
            pipeline.hgetall(job_key(job_id))
        return tuple(
            self._decode_or_failed(job_id, fields)
            for job_id, fields in zip(ids, pipeline.execute(), strict=True)
            if fields
        )

    def _decode_or_failed(self, job_id: str, fields: Mapping[Any, Any]) -> Job:
        try:
            return self._decode(job_id, fields)
        except RecordInvalidError as error:
            logger.warning("%s", error)
            return unreadable_job(job_id, self._jobs_root, error)

    def _decode(self, job_id: str, fields: Mapping[Any, Any]) -> Job:
        return decode_job(
            job_id, {text(name): text(value) for name, value in fields.items()}, self._jobs_root
        )
