"""Submit, watch, cancel and delete jobs: the API's side of the queue.

State, leases, attempts and retries are in our own records, changed by the atomic steps of
`workers.queue.lua`. RQ forgets (its keys have TTLs) and doubts (its leases last minutes), so it decides
nothing: it only carries (job id, attempt) to a worker. Needs no torch.

Every method raises `redis.exceptions.RedisError` when the queue server does not answer. A job whose record
cannot be read counts as failed.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

from redis import Redis
from redis.exceptions import RedisError

from ..errors import IdempotencyConflictError, JobFinalError, JobNotFoundError
from ..jobs import EVERY_JOB, Job, JobFilter, JobRequest, JobState, new_job, submitted_at
from . import lua
from .batches import BatchStore
from .connection import connect, text
from .fair_share import FairShare
from .records import (
    ALL_JOBS,
    PREFIX,
    JobRecords,
    count_of,
    encode_job,
    encode_request,
    job_key,
    slide_key,
    state_key,
)
from .recovery import forget_request, keep_request
from .registry import PublishedModels, WorkerInfo, WorkerRegistry, WorkerState
from .rq_lists import RqLists
from .storage import STORAGE, storage_token
from .suitable import require_suitable
from .tallies import Metric, Parts, Tallies
from .webhooks import WebhookStore

IDEMPOTENCY_TTL_S = 24 * 3600

_SCAN = 200
"""Records read at once where jobs are looked for."""

SCANNED = 5000
"""Records looked through for one page of a filtered listing, at most."""


class JobClient:
    """Submits, reads, cancels and deletes jobs, and reads what workers announce."""

    def __init__(self, redis: Redis, jobs_root: Path) -> None:
        """Job `id` keeps its files in `jobs_root/<id>`."""
        self._redis = redis
        self._jobs_root = jobs_root
        self._token = ""
        self._records = JobRecords(redis, jobs_root)
        self._lists = RqLists(redis)
        self._registry = WorkerRegistry(redis)
        self._fair_share = FairShare(redis)
        self._submit = redis.register_script(lua.SUBMIT)
        self._cancel = redis.register_script(lua.CANCEL)
        self._delete = redis.register_script(lua.DELETE)

    @classmethod
    def connect(cls, url: str, jobs_root: Path) -> Self:
        """Return a client of the queue behind a redis://, rediss:// or unix:// URL.

        It connects at the first call.
        """
        return cls(connect(url), jobs_root)

    def close(self) -> None:
        """Give the connections back."""
        self._redis.close()

    def claim_storage(self) -> None:
        """Tell workers which data folder this process uses, so that those with another one take no job.

        `submit` tells them, too: a queue that does not answer yet, or a folder that takes no file, is no
        error.
        """
        with suppress(RedisError):
            if token := self._storage():
                self._redis.set(STORAGE, token)

    def ping(self) -> None:
        """Raise `redis.exceptions.RedisError` unless the server answers."""
        self._redis.ping()

    def require_suitable(self) -> None:
        """Check that the server can be the queue; one that does not answer now may come later.

        Raises:
            QueueUnavailableError: it is a cluster or a Sentinel, or it does not take our user.
        """
        require_suitable(self._redis)

    def submit(
        self, request: JobRequest, *, idempotency_key: str | None = None, work: str = "", lane: str = ""
    ) -> Job:
        """Record a job and queue it.

        The record comes first: whoever dies between the two steps leaves a job that
        `workers.queue.reconciler` queues. With an idempotency key, the same request within 24 h gives the
        same job back.

        Args:
            request: what to run.
            idempotency_key: stands for this request from now on.
            work: what `succeeded` will find the job by.
            lane: whose job it is; those of one lane wait behind the first ones of others.

        Raises:
            IdempotencyConflictError: the key stands for another request.
            RecordInvalidError: the request could not be read back, as with a name that is not Unicode.
        """
        job = new_job(request, self._jobs_root)
        fields = encode_job(job)
        fields |= {name: value for name, value in (("work", work), ("lane", lane)) if value}
        # Of what the client asked for: the same request finds its job when the model's weights have changed.
        fingerprint = _sha256(encode_request(replace(request, model_sha256=None)))
        key = _idempotency_key(idempotency_key) if idempotency_key else ""
        parts = [part for item in fields.items() for part in item]
        own = [request.slide_id, request.priority, request.model_sha256 or "", self._storage()]
        reply = self._submit(args=[job.id, key, fingerprint, IDEMPOTENCY_TTL_S, *own, *parts])
        held_id, held_fingerprint = text(reply[0]), text(reply[1])
        if held_fingerprint != fingerprint:
            raise IdempotencyConflictError(idempotency_key or "", held_id)
        if held_id == job.id:
            keep_request(job)
            self._lists.enqueue(job.id, job.attempt)
            self._fair_share.settle(job.id, job.attempt, request.priority)
        return self.get(held_id)

    def knows_key(self, idempotency_key: str | None) -> bool:
        """Tell whether an idempotency key stands for a job."""
        return idempotency_key is not None and bool(self._redis.exists(_idempotency_key(idempotency_key)))

    def succeeded(self, work: str) -> Job | None:
        """Return the newest job submitted as `work` that has succeeded and whose result is there."""
        held = text(self._redis.get(f"{PREFIX}work:{work}") or b"")
        try:
            job = self.get(held)
        except JobNotFoundError:
            return None
        return job if job.state is JobState.SUCCEEDED and job.files.result.exists() else None

    def get(self, job_id: str) -> Job:
        """Return the record of a job.

        Raises:
            JobNotFoundError: there is none.
        """
        return self._records.get(job_id)

    def get_many(self, job_ids: Iterable[str]) -> tuple[Job, ...]:
        """Return the records of jobs in the order of their ids; those that are gone are left out."""
        return self._records.get_many(job_ids)

    def batches(self) -> BatchStore:
        """Return the batches behind the same server."""
        return BatchStore(self._redis)

    def webhooks(self) -> WebhookStore:
        """Return the webhooks behind the same server."""
        return WebhookStore(self._redis)

    def take_turn(self, what: str, who: str, seconds: int) -> bool:
        """Have one of several processes do `what` for `seconds`; tell whether it is `who`."""
        key = f"{PREFIX}turn:{what}"
        if not self._redis.set(key, who, nx=True, ex=seconds):
            if text(self._redis.get(key) or b"") != who:
                return False
            self._redis.expire(key, seconds)
        return True

    def list(
        self,
        state: JobState | None = None,
        cursor: str | None = None,
        limit: int = 50,
        wanted: JobFilter = EVERY_JOB,
    ) -> tuple[tuple[Job, ...], str | None]:
        """Return a page of jobs, newest first, and the cursor of the next page, None on the last.

        At most SCANNED records are looked through for those that are wanted: a page may then hold fewer than
        there are, none even, and still have a next one.
        """
        cursor, oldest = wanted.newest_id(cursor), wanted.oldest_id
        found: list[Job] = []
        scanned = 0
        while True:
            page, cursor = self._page(state, cursor, limit if wanted == EVERY_JOB else _SCAN, oldest)
            for number, job in enumerate(page):
                if wanted.matches(job):
                    found.append(job)
                    if len(found) == limit:
                        is_last = cursor is None and number + 1 == len(page)
                        return tuple(found), None if is_last else job.id
            scanned += len(page)
            if cursor is None or wanted == EVERY_JOB or scanned >= SCANNED:
                return tuple(found), cursor

    def _page(
        self, state: JobState | None, cursor: str | None, limit: int, oldest: str | None
    ) -> tuple[tuple[Job, ...], str | None]:
        index = state_key(state) if state else ALL_JOBS
        newest = f"({cursor}" if cursor else "+"
        end = f"[{oldest}" if oldest else "-"
        listed = self._redis.zrevrangebylex(index, newest, end, start=0, num=limit + 1)
        ids = [text(key) for key in listed]
        page = self._records.get_many(ids[:limit])
        return page, ids[limit - 1] if len(ids) > limit else None

    def counts(self) -> Mapping[JobState, int]:
        """Return how many jobs are in each state."""
        pipeline = self._redis.pipeline(transaction=False)
        for state in JobState:
            pipeline.zcard(state_key(state))
        return dict(zip(JobState, pipeline.execute(), strict=True))

    def unfinished(self, slide_id: str) -> tuple[str, ...]:
        """Return the ids of the jobs on a slide that are not over, oldest first."""
        ids = sorted(text(key) for key in self._redis.smembers(slide_key(slide_id)))
        return tuple(job.id for job in self._records.get_many(ids) if not job.state.is_final)

    def position(self, job_id: str) -> int | None:
        """Return how many jobs are before this one in the queue; None if it does not wait there."""
        attempt = text(self._redis.hget(job_key(job_id), "attempt") or b"")
        try:
            return self._lists.position(job_id, count_of(attempt))
        except ValueError:
            return None

    def cancel(self, job_id: str) -> Job:
        """Cancel a queued job at once; ask a running one to stop, which takes about a second.

        Raises:
            JobNotFoundError: there is no such job.
            JobFinalError: the job is over.
        """
        job = self.get(job_id)
        before = None if job.state.is_final else self._cancel(args=[job_id])
        if before is None or text(before) not in ("queued", "running"):
            raise JobFinalError(job_id, self.get(job_id).state)
        job = self.get(job_id)
        if text(before) == JobState.QUEUED:
            forget_request(job.files)
            self._lists.dequeue(job_id, job.attempt)
        return job

    def delete(self, job_id: str, *, wait_s: float = 10.0) -> Job:
        """Remove a job's record and return it; its files are the caller's to remove.

        A job that is not over is cancelled first. A running one gets `wait_s` seconds to leave its directory
        alone; after that the record goes anyway, and the worker stops at its next heartbeat.

        Raises:
            JobNotFoundError: there is no such job.
        """
        job = self.get(job_id)
        if not job.state.is_final:
            job = self._cancel_and_wait(job_id, wait_s)
        # Before the record: a recovery that runs meanwhile, or after a kill, must not bring the job back.
        forget_request(job.files)
        self._delete(args=[job_id])
        return job

    def models(self) -> PublishedModels:
        """Return the model cards that workers announced last."""
        return self._registry.models()

    def live_workers(self) -> tuple[WorkerInfo, ...]:
        """Return the workers that gave a sign of life lately and have their model loaded."""
        return tuple(worker for worker in self._registry.workers() if worker.is_ready)

    def workers(self) -> tuple[WorkerInfo, ...]:
        """Return all workers that gave a sign of life lately, those without a model too; they say why."""
        return self._registry.workers()

    def worker_states(self) -> Mapping[str, int]:
        """Return how many live workers are in each state."""
        found = Counter(worker.state for worker in self.workers())
        return {state.value: found[state] for state in WorkerState}

    def tallies(self) -> dict[Metric, dict[tuple[str, ...], Parts]]:
        """Return what workers and supervisors counted, by metric and values of its labels."""
        return Tallies(self._redis).read()

    def oldest_waiting_s(self) -> float:
        """Return for how many seconds the oldest queued job has waited, 0 if none waits.

        By its id, so by the clock of the host that took it.
        """
        first = self._redis.zrange(state_key(JobState.QUEUED), 0, 0)
        return max(0.0, time.time() - submitted_at(text(first[0]))) if first else 0.0

    def _storage(self) -> str:
        """Return the token of the data folder, '' while it has none and takes none."""
        if not self._token:
            self._token = storage_token(self._jobs_root.parent)
        return self._token

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


def _idempotency_key(key: str) -> str:
    return f"{PREFIX}idempotency:{_sha256(key)}"


def _sha256(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
