"""Requeue the jobs of lost workers and the jobs that RQ has lost: one tick, made about every second."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeGuard

from redis import Redis
from redis.exceptions import LockError

from ..errors import RecordInvalidError
from ..jobs import JobState, Problem, is_job_id
from . import lua
from .connection import text
from .records import PREFIX, encode_problem, job_key, record_problem, state_key
from .rq_lists import RqLists, rq_id

logger = logging.getLogger(__name__)

LOCK = f"{PREFIX}reconciler"
LOCK_S = 30.0
LAST_TICK = f"{PREFIX}last-tick"
SETTLING = f"{PREFIX}settling"
MISSING = f"{PREFIX}missing"
LEASES = f"{PREFIX}leases"

WORKER_LOST = Problem(
    type="worker-lost",
    title="The worker running this job was lost again and again",
    detail="Workers died or lost touch with the queue while they ran this job, and no patch was finished in "
    "between. See the workers' logs: running out of memory is the usual cause. Submit the job again once "
    "that is cured.",
)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Ids that a tick queued again: of jobs whose worker was lost, and of jobs that RQ had lost."""

    reaped: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued job and the attempt that waits."""

    id: str
    attempt: int

    @property
    def rq_id(self) -> str:
        """RQ's name for the attempt."""
        return rq_id(self.id, self.attempt)


class Reconciler:
    """Periodic repair: gives the jobs of lost workers to others, puts forgotten jobs back into the queue.

    Several may tick at once: a lock lets one through, and even without it each step is atomic.
    """

    def __init__(
        self, redis: Redis, *, lost_after_s: float, lease_s: float = 8.0, max_losses: int = 10
    ) -> None:
        """See `workers.settings` for the limits.

        `lost_after_s` is also how often RQ's lists are searched for missing jobs, in seconds.
        """
        self._redis = redis
        self._lists = RqLists(redis)
        self._lost_after_s = lost_after_s
        self._lease_s = lease_s
        self._max_losses = max_losses
        self._reap_script = redis.register_script(lua.REAP)
        self._fail = redis.register_script(lua.FAIL)
        self._restore_at = 0.0

    def tick(self) -> Reconciled:
        """Requeue what is lost; do nothing while another reconciler ticks.

        Raises:
            redis.exceptions.RedisError: the queue server does not answer.
        """
        with self._lock() as locked:
            if not locked:
                return Reconciled()
            reaped = self._reap_ended() if self._settled() else ()
            done = Reconciled(reaped, self._restore_now_and_then())
        for job_id in done.reaped:
            logger.warning("job %s: its worker was lost, queued again", job_id)
        for job_id in done.restored:
            logger.warning("job %s: had fallen out of the queue, queued again", job_id)
        return done

    def reap(self, job_id: str, problem: Problem) -> bool:
        """Queue a job again whose lease has ended, or fail it with `problem` if that happened too often.

        Return whether it was queued.
        """
        next_attempt = int(self._reap_script(args=[job_id, self._max_losses, encode_problem(problem)]))
        if next_attempt:
            self._lists.enqueue(job_id, next_attempt, at_front=True)
        return next_attempt > 0

    @contextmanager
    def _lock(self) -> Iterator[bool]:
        lock = self._redis.lock(LOCK, timeout=LOCK_S)
        locked = lock.acquire(blocking=False)
        try:
            yield locked
        finally:
            if locked:
                try:
                    lock.release()
                except LockError:
                    logger.warning("a reconciler tick took longer than %.0f s", LOCK_S)

    def _now(self) -> float:
        """Return the Unix seconds of the queue server's clock, the only one that leases know."""
        seconds, microseconds = self._redis.time()
        return float(seconds) + float(microseconds) / 1e6

    def _settled(self) -> bool:
        """Return whether an ended lease means a lost worker.

        While the server was down, or this whole machine slept, nobody could renew a lease. Workers get one
        lease's time to do so after the server's start and after a gap between ticks.
        """
        redis, lease_s, now = self._redis, self._lease_s, self._now()
        last = redis.get(LAST_TICK)
        redis.set(LAST_TICK, now)
        if not _is_number(last) or now - float(last) > lease_s:
            redis.set(SETTLING, 1, px=int(lease_s * 1000))
            return False
        return redis.info("server")["uptime_in_seconds"] >= lease_s and not redis.exists(SETTLING)

    def _reap_ended(self) -> tuple[str, ...]:
        """Reap the jobs whose lease has ended; return the ids of those queued again."""
        ended = self._redis.zrangebyscore(LEASES, 0, self._now())
        return tuple(job_id for key in ended if self.reap(job_id := text(key), WORKER_LOST))

    def _restore_now_and_then(self) -> tuple[str, ...]:
        """Call `_restore`, which reads the whole queue, at some ticks only."""
        now = time.monotonic()
        if now < self._restore_at:
            return ()
        self._restore_at = now + self._lost_after_s
        return self._restore()

    def _restore(self) -> tuple[str, ...]:
        """Queue again what has been missing from RQ's lists for a while; return the ids, oldest first.

        A job that a worker has just taken is missing for milliseconds, so a job must stay missing to count.
        """
        waiting = self._waiting()
        if not waiting:
            return ()
        # Read after the records: a job queued in between is then seen in a list, not missed.
        listed = self._lists.listed()
        now = self._now()
        lost = []
        for job in waiting:
            if job.rq_id in listed:
                self._redis.zrem(MISSING, job.id)
                continue
            self._redis.zadd(MISSING, {job.id: now}, nx=True)
            if now - float(self._redis.zscore(MISSING, job.id) or now) >= self._lost_after_s:
                lost.append(job)
        # Each goes to the very front of its priority's list, so they go from last to first.
        for job in reversed(lost):
            self._lists.dequeue(job.id, job.attempt)
            self._lists.enqueue(job.id, job.attempt, at_front=True)
            self._redis.zrem(MISSING, job.id)
        return tuple(job.id for job in lost)

    def _waiting(self) -> list[Waiting]:
        """Return the queued jobs, oldest first."""
        listed = (text(key) for key in self._redis.zrange(state_key(JobState.QUEUED), 0, -1))
        ids = [job_id for job_id in listed if is_job_id(job_id)]
        pipeline = self._redis.pipeline(transaction=False)
        for job_id in ids:
            pipeline.hget(job_key(job_id), "attempt")
        found = [(job_id, text(reply or b"")) for job_id, reply in zip(ids, pipeline.execute(), strict=True)]
        for job_id, attempt in found:
            if attempt and not attempt.isdecimal():
                # No worker could ever take it.
                error = RecordInvalidError.of(
                    f"The record of job {job_id}", ValueError(f"attempt {attempt[:40]!r}")
                )
                self._fail(args=[job_id, encode_problem(record_problem(error))])
        return [Waiting(job_id, int(attempt)) for job_id, attempt in found if attempt.isdecimal()]


def _is_number(reply: Any) -> TypeGuard[bytes]:
    """Tell whether a reply of the server is a finite number."""
    try:
        return math.isfinite(float(reply))
    except (TypeError, ValueError):
        return False
