"""Bringing records and queue together again after something died: one tick, made about every second."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from redis.exceptions import LockError

from ..jobs import JobState, Problem
from .connection import text
from .job_queue import PREFIX, JobQueue, rq_id

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
    detail="Workers died or lost touch with the queue while they ran this job, and no patch was finished in between. "
    "See the workers' logs: running out of memory is the usual cause. Submit the job again once that is cured.",
)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Ids that a tick queued again: those whose worker was lost, and those that had fallen out of the queue."""

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
    """Gives the jobs of lost workers to others, and puts forgotten jobs back into the queue.

    Several may tick at once: a lock lets one through, and even without it each step is atomic.
    """

    def __init__(self, queue: JobQueue, *, lost_after_s: float) -> None:
        """`lost_after_s`: how long a queued job may be missing from RQ's lists, in seconds; looked at as often."""
        self._queue = queue
        self._lost_after_s = lost_after_s
        self._restore_at = 0.0

    def tick(self) -> Reconciled:
        """Look once; does nothing if another reconciler is at it. Raises `redis.exceptions.RedisError`."""
        with self._alone() as alone:
            if not alone:
                return Reconciled()
            reaped = self._reap() if self._settled() else ()
            done = Reconciled(reaped, self._restore_now_and_then())
        for job_id in done.reaped:
            logger.warning("job %s: its worker was lost, queued again", job_id)
        for job_id in done.restored:
            logger.warning("job %s: had fallen out of the queue, queued again", job_id)
        return done

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        lock = self._queue.redis.lock(LOCK, timeout=LOCK_S)
        alone = lock.acquire(blocking=False)
        try:
            yield alone
        finally:
            if alone:
                try:
                    lock.release()
                except LockError:
                    logger.warning("a reconciler tick took longer than %.0f s", LOCK_S)

    def _now(self) -> float:
        """Unix seconds of the queue server's clock, the only one that leases know."""
        seconds, microseconds = self._queue.redis.time()
        return float(seconds) + float(microseconds) / 1e6

    def _settled(self) -> bool:
        """Whether leases mean anything yet.

        While the server was down, or this whole machine slept, nobody could renew a lease. Workers get one lease's time
        to do so after the server's start and after a gap between ticks.
        """
        redis, lease_s, now = self._queue.redis, self._queue.lease_s, self._now()
        last = redis.get(LAST_TICK)
        redis.set(LAST_TICK, now)
        if last is None or now - float(last) > lease_s:
            redis.set(SETTLING, 1, px=int(lease_s * 1000))
            return False
        return redis.info("server")["uptime_in_seconds"] >= lease_s and not redis.exists(SETTLING)

    def _reap(self) -> tuple[str, ...]:
        ended = self._queue.redis.zrangebyscore(LEASES, 0, self._now())
        return tuple(job_id for key in ended if self._queue.reap(job_id := text(key), WORKER_LOST))

    def _restore_now_and_then(self) -> tuple[str, ...]:
        """`_restore` reads the whole queue, so not at every tick."""
        now = time.monotonic()
        if now < self._restore_at:
            return ()
        self._restore_at = now + self._lost_after_s
        return self._restore()

    def _restore(self) -> tuple[str, ...]:
        """Queue again what has been missing from RQ's lists for a while; their ids, oldest first.

        A job that a worker has just taken is missing for milliseconds, so a job must stay missing to count.
        """
        redis = self._queue.redis
        waiting = self._waiting()
        if not waiting:
            return ()
        # Read after the records: a job queued in between is then seen in a list, not missed.
        listed = self._queue.listed()
        now = self._now()
        lost = []
        for job in waiting:
            if job.rq_id in listed:
                redis.zrem(MISSING, job.id)
                continue
            redis.zadd(MISSING, {job.id: now}, nx=True)
            if now - float(redis.zscore(MISSING, job.id) or now) >= self._lost_after_s:
                lost.append(job)
        # Each goes to the very front of its priority's list, so they go from last to first.
        for job in reversed(lost):
            self._queue.dequeue(job.id, job.attempt)
            self._queue.enqueue(job.id, job.attempt, at_front=True)
            redis.zrem(MISSING, job.id)
        return tuple(job.id for job in lost)

    def _waiting(self) -> list[Waiting]:
        """The queued jobs, oldest first."""
        redis = self._queue.redis
        ids = [text(key) for key in redis.zrange(f"{PREFIX}jobs:{JobState.QUEUED}", 0, -1)]
        pipeline = redis.pipeline(transaction=False)
        for job_id in ids:
            pipeline.hget(f"{PREFIX}job:{job_id}", "attempt")
        return [
            Waiting(job_id, int(attempt))
            for job_id, attempt in zip(ids, pipeline.execute(), strict=True)
            if attempt
        ]
