"""The job queue: our own records beside an RQ queue that only carries (job id, attempt) to a worker.

RQ forgets (its keys have TTLs) and doubts (its leases last minutes), so it decides nothing here: state, leases, attempts
and retries are in the records, changed by the atomic steps of `workers.queue.lua`. Needs no torch.

Every method raises `redis.exceptions.RedisError` when the queue server does not answer.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from enum import IntEnum
from pathlib import Path
from typing import Any, Self

import rq
import rq.job
from redis import Redis

from ..errors import IdempotencyConflictError, JobFinalError, JobNotFoundError
from ..jobs import Job, JobRequest, JobState, Priority, Problem, Progress, new_job
from . import lua
from .connection import connect, text
from .registry import PublishedModels, WorkerInfo, WorkerRegistry

QUEUES: dict[Priority, str] = {"high": "darefine-high", "normal": "darefine"}
"""RQ's queues in the order in which workers listen to them: first in, first out within each priority.

From more than one list RQ takes a job without keeping a copy of it; should a worker die just then, `workers.queue.reconciler`
queues the job again.
"""

TASK = "workers.rq_worker.tasks.run_job"
"""Dotted name of the task, so that whoever submits need not import it."""

PREFIX = "darefine:"
IDEMPOTENCY_TTL_S = 24 * 3600
RQ_TTL_S = 60
"""How long RQ keeps what it knows of a run that is over; nobody asks."""


class Ownership(IntEnum):
    """What a worker learns of its job at a heartbeat; the values are those of `lua.HEARTBEAT`."""

    LOST = 0
    HELD = 1
    CANCEL_REQUESTED = 2


class JobQueue:
    """Submit, watch and cancel jobs (API side); own, report and finish them (worker side)."""

    def __init__(
        self, redis: Redis, *, lease_s: float = 8.0, max_crashes: int = 2, max_losses: int = 10
    ) -> None:
        """The limits matter to workers and supervisors only; see `workers.settings`."""
        self.redis = redis
        self.lease_s = lease_s
        self.max_crashes = max_crashes
        self.max_losses = max_losses
        self._presence = WorkerRegistry(redis)
        self.rq = {
            priority: rq.Queue(name, connection=redis, serializer="json") for priority, name in QUEUES.items()
        }
        self._submit = redis.register_script(lua.SUBMIT)
        self._start = redis.register_script(lua.START)
        self._heartbeat = redis.register_script(lua.HEARTBEAT)
        self._finish = redis.register_script(lua.FINISH)
        self._release = redis.register_script(lua.RELEASE)
        self._retry = redis.register_script(lua.RETRY)
        self._reap = redis.register_script(lua.REAP)
        self._cancel = redis.register_script(lua.CANCEL)
        self._delete = redis.register_script(lua.DELETE)

    @classmethod
    def connect(cls, url: str) -> Self:
        """The queue behind a redis://, rediss:// or unix:// URL; connects at the first call."""
        return cls(connect(url))

    def close(self) -> None:
        """Give the connections back."""
        self.redis.close()

    def ping(self) -> None:
        """Raise `redis.exceptions.RedisError` unless the server answers."""
        self.redis.ping()

    # The API's side

    def submit(self, request: JobRequest, *, jobs_root: Path, idempotency_key: str | None = None) -> Job:
        """Record a job and queue it; its directory will be `jobs_root/<id>`.

        The record comes first: whoever dies between the two steps leaves a job that `workers.queue.reconciler` queues.
        With an idempotency key, the same request within 24 h gives the same job back.

        Raises:
            IdempotencyConflictError: the key stands for another request.
        """
        job = new_job(request, jobs_root)
        fingerprint = hashlib.sha256(request.to_json().encode()).hexdigest()
        hold = (
            f"{PREFIX}idempotency:{hashlib.sha256(idempotency_key.encode()).hexdigest()}"
            if idempotency_key
            else ""
        )
        fields = [part for item in job.to_hash().items() for part in item]
        reply = self._submit(args=[job.id, hold, fingerprint, IDEMPOTENCY_TTL_S, *fields])
        held_id, held_fingerprint = text(reply[0]), text(reply[1])
        if held_fingerprint != fingerprint:
            raise IdempotencyConflictError(idempotency_key or "", held_id)
        if held_id == job.id:
            self.enqueue(job.id, job.attempt)
        return self.get(held_id)

    def get(self, job_id: str) -> Job:
        """The record of a job. Raises JobNotFoundError."""
        return _job(job_id, self.redis.hgetall(f"{PREFIX}job:{job_id}"))

    def list(
        self, state: JobState | None = None, cursor: str | None = None, limit: int = 50
    ) -> tuple[tuple[Job, ...], str | None]:
        """A page of jobs, newest first, and the cursor of the next page, None on the last."""
        index = f"{PREFIX}jobs:{state}" if state else f"{PREFIX}jobs"
        newest = f"({cursor}" if cursor else "+"
        ids = [text(key) for key in self.redis.zrevrangebylex(index, newest, "-", start=0, num=limit + 1)]
        page = self._jobs(ids[:limit])
        return page, ids[limit - 1] if len(ids) > limit else None

    def counts(self) -> Mapping[JobState, int]:
        """How many jobs are in each state."""
        pipeline = self.redis.pipeline(transaction=False)
        for state in JobState:
            pipeline.zcard(f"{PREFIX}jobs:{state}")
        return dict(zip(JobState, pipeline.execute(), strict=True))

    def unfinished(self, slide_id: str) -> tuple[str, ...]:
        """Ids of the jobs on a slide that are not over, oldest first. Reads every such record: one each."""
        ids = [
            text(key)
            for state in JobState
            if not state.is_final
            for key in self.redis.zrange(f"{PREFIX}jobs:{state}", 0, -1)
        ]
        return tuple(job.id for job in self._jobs(sorted(ids)) if job.request.slide_id == slide_id)

    def position(self, job_id: str) -> int | None:
        """Jobs before this one in the queue; None if it does not wait there."""
        attempt = self.redis.hget(f"{PREFIX}job:{job_id}", "attempt")
        if attempt is None:
            return None
        before = 0
        for place, length in self._places(rq_id(job_id, int(attempt))):
            if place is not None:
                return before + place
            before += length
        return None

    def cancel(self, job_id: str) -> Job:
        """Cancel a queued job at once; ask a running one to stop, which takes about a second.

        Raises JobNotFoundError, JobFinalError.
        """
        before = self._cancel(args=[job_id])
        if before is None:
            raise JobNotFoundError(job_id)
        state = JobState(text(before))
        if state.is_final:
            raise JobFinalError(job_id, state)
        job = self.get(job_id)
        if state is JobState.QUEUED:
            self.dequeue(job_id, job.attempt)
        return job

    def delete(self, job_id: str, *, wait_s: float = 10.0) -> Job:
        """Remove a job's record and give it back; its files are the caller's to remove.

        A job that is not over is cancelled first. A running one gets `wait_s` seconds to leave its directory alone; after
        that the record goes anyway, and the worker stops at its next heartbeat.

        Raises JobNotFoundError.
        """
        job = self.get(job_id)
        if not job.state.is_final:
            job = self._cancel_and_wait(job_id, wait_s)
        self._delete(args=[job_id])
        return job

    def models(self) -> PublishedModels:
        """The model cards that workers announced last."""
        return self._presence.models()

    def live_workers(self) -> tuple[WorkerInfo, ...]:
        """Workers that gave a sign of life lately and have their model loaded."""
        return tuple(worker for worker in self._presence.workers() if worker.is_ready)

    def workers(self) -> tuple[WorkerInfo, ...]:
        """All workers that gave a sign of life lately, those without a model too; they say why."""
        return self._presence.workers()

    # The worker's side

    def start(self, job_id: str, attempt: int, worker: str) -> Job | None:
        """Own an attempt: queued -> running under a lease. None if the attempt is stale, cancelled or taken."""
        taken = self._start(args=[job_id, attempt, worker, self.lease_s])
        return self.get(job_id) if taken else None

    def heartbeat(self, job_id: str, attempt: int, progress: Progress | None = None) -> Ownership:
        """Renew the lease, save progress, and learn whether the job is still ours and still wanted."""
        return Ownership(
            int(self._heartbeat(args=[job_id, attempt, self.lease_s, *_progress_args(progress)]))
        )

    def succeed(self, job_id: str, attempt: int, progress: Progress | None = None) -> bool:
        """Publish success. False if the attempt is no longer the running one: somebody else's result counts."""
        return self._end(job_id, attempt, JobState.SUCCEEDED, None, progress)

    def fail(self, job_id: str, attempt: int, problem: Problem, progress: Progress | None = None) -> bool:
        """Publish a failure that trying again would not cure. False as in `succeed`."""
        return self._end(job_id, attempt, JobState.FAILED, problem, progress)

    def confirm_cancel(self, job_id: str, attempt: int, progress: Progress | None = None) -> bool:
        """Say that a job asked to stop has stopped. False as in `succeed`."""
        return self._end(job_id, attempt, JobState.CANCELLED, None, progress)

    def release(self, job_id: str, attempt: int) -> bool:
        """Put a running job back before all others of its priority, without blame. False if it was not ours, or is cancelled."""
        following = int(self._release(args=[job_id, attempt]))
        if following:
            self.enqueue(job_id, following, at_front=True)
        return following > 0

    def retry(
        self, job_id: str, attempt: int, worker: str, problem: Problem, progress: Progress | None = None
    ) -> int | None:
        """Count a crash and own the next attempt at once; None if the job is over (failed with `problem`, cancelled) or not ours."""
        blame = json.dumps(asdict(problem))
        limits = (self.lease_s, self.max_crashes)
        args = (job_id, attempt, worker, *limits, blame, *_progress_args(progress))
        return int(self._retry(args=args)) or None

    def reap(self, job_id: str, problem: Problem) -> bool:
        """Queue a job again whose lease has ended, or fail it with `problem` if that happened too often. False if not queued."""
        following = int(self._reap(args=[job_id, self.max_losses, json.dumps(asdict(problem))]))
        if following:
            self.enqueue(job_id, following, at_front=True)
        return following > 0

    def publish_models(self, default: str, cards: tuple[str, ...]) -> None:
        """Announce model cards (JSON texts) to the API."""
        self._presence.publish_models(default, cards)

    def announce(self, worker: WorkerInfo, *, ttl_s: float) -> None:
        """A worker's sign of life, good for `ttl_s` seconds."""
        self._presence.announce(worker, ttl_s=ttl_s)

    def withdraw(self, worker: str) -> None:
        """A worker's good-bye."""
        self._presence.withdraw(worker)

    # RQ

    def enqueue(self, job_id: str, attempt: int, *, at_front: bool = False) -> None:
        """Hand an attempt to RQ, unless the job was deleted meanwhile.

        RQ's job id holds the attempt, so an old entry can never run a new attempt.
        """
        request = self.redis.hget(f"{PREFIX}job:{job_id}", "request")
        if request is None:
            return
        self.rq[JobRequest.from_json(text(request)).priority].enqueue_call(
            TASK,
            args=(job_id, attempt),
            job_id=rq_id(job_id, attempt),
            timeout=-1,
            result_ttl=RQ_TTL_S,
            failure_ttl=RQ_TTL_S,
            at_front=at_front,
            description=f"job {job_id}, attempt {attempt}",
        )

    def dequeue(self, job_id: str, attempt: int) -> None:
        """Take an attempt out of RQ's lists."""
        name = rq_id(job_id, attempt)
        for queue in self.rq.values():
            queue.remove(name)
        self.redis.delete(rq.job.Job.key_for(name))

    def listed(self) -> set[str]:
        """RQ's names of all attempts that wait in its lists."""
        return {name for queue in self.rq.values() for name in queue.job_ids}

    def waiting(self, limit: int) -> tuple[Job, ...]:
        """The first of the waiting jobs, at most `limit`, in the order in which workers will take them. Takes none."""
        pipeline = self.redis.pipeline(transaction=False)
        for queue in self.rq.values():
            pipeline.lrange(queue.key, 0, limit - 1)
        names = [text(name) for listed in pipeline.execute() for name in listed][:limit]
        jobs = self._jobs([name.rpartition("-")[0] for name in names])
        return tuple(job for job in jobs if job.state is JobState.QUEUED)

    def _places(self, name: str) -> tuple[tuple[int | None, int], ...]:
        """Where `name` stands in each of RQ's lists, in the order they are listened to, and how long each is; at one moment."""
        pipeline = self.redis.pipeline()
        for queue in self.rq.values():
            pipeline.lpos(queue.key, name)
            pipeline.llen(queue.key)
        replies = pipeline.execute()
        return tuple(zip(replies[::2], replies[1::2], strict=True))

    def _jobs(self, ids: Any) -> tuple[Job, ...]:
        """Records by id; those deleted meanwhile are left out."""
        pipeline = self.redis.pipeline(transaction=False)
        for job_id in ids:
            pipeline.hgetall(f"{PREFIX}job:{job_id}")
        return tuple(
            _job(job_id, fields) for job_id, fields in zip(ids, pipeline.execute(), strict=True) if fields
        )

    def _end(
        self, job_id: str, attempt: int, state: JobState, problem: Problem | None, progress: Progress | None
    ) -> bool:
        why = json.dumps(asdict(problem)) if problem else ""
        return bool(self._finish(args=[job_id, attempt, state, why, *_progress_args(progress)]))

    def _cancel_and_wait(self, job_id: str, wait_s: float) -> Job:
        try:
            job = self.cancel(job_id)
        except JobFinalError:
            return self.get(job_id)
        deadline = time.monotonic() + wait_s
        while not job.state.is_final and time.monotonic() < deadline:
            time.sleep(0.1)
            job = self.get(job_id)
        return job


def rq_id(job_id: str, attempt: int) -> str:
    """RQ's name for one attempt of a job."""
    return f"{job_id}-{attempt}"


def _job(job_id: str, fields: Mapping[Any, Any]) -> Job:
    if not fields:
        raise JobNotFoundError(job_id)
    return Job.from_hash({text(name): text(value) for name, value in fields.items()})


def _progress_args(progress: Progress | None) -> tuple[str, int]:
    """The two arguments with which scripts save progress."""
    return (json.dumps(asdict(progress)), progress.patches_done) if progress else ("", 0)
