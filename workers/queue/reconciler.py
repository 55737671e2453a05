"""Requeue the jobs of lost workers and the jobs that RQ has lost: one tick, made about every second.

What a tick costs does not grow with the queue. RQ's lists give jobs out from their heads, so a waiting job
whose turn was before that of a list's head, and that stays so, has fallen out; nobody needs to look at the
others.
"""

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

from redis import Redis
from redis.exceptions import LockError

from ..errors import RecordInvalidError
from ..jobs import Problem
from . import lua, lua_fleet
from .connection import text
from .order_index import index_orders
from .records import PREFIX, count_of, encode_problem, job_key, record_problem
from .rq_lists import QUEUES, RqLists

logger = logging.getLogger(__name__)

LOCK = f"{PREFIX}reconciler"
LOCK_S = 30.0
"""Of those that put jobs back into RQ's lists."""

MOST = 500
"""Jobs put back into RQ's lists in one tick."""

LAST_TICK = f"{PREFIX}last-tick"
SETTLING = f"{PREFIX}settling"
MISSING = f"{PREFIX}missing"

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


class Reconciler:
    """Periodic repair: gives the jobs of lost workers to others, puts forgotten jobs back into the queue.

    Several may tick at once: each step is atomic, or behind a lock.
    """

    def __init__(
        self, redis: Redis, *, lost_after_s: float, lease_s: float = 8.0, max_losses: int = 10
    ) -> None:
        """See `workers.settings` for the limits.

        `lost_after_s` is also how often missing jobs are looked for, in seconds.
        """
        self._redis = redis
        self._lists = RqLists(redis)
        self._lost_after_s = lost_after_s
        self._lease_s = lease_s
        self._max_losses = max_losses
        self._tick = redis.register_script(lua_fleet.TICK)
        self._overdue_script = redis.register_script(lua_fleet.OVERDUE)
        self._reap_script = redis.register_script(lua.REAP)
        self._fail = redis.register_script(lua.FAIL)
        self._restore_at = 0.0
        self._is_indexed = False
        self._waiting = -1
        self.is_idle = False
        """Whether the last tick found no job that runs and none that waits."""

    def tick(self) -> Reconciled:
        """Requeue what is lost.

        Raises:
            redis.exceptions.RedisError: the queue server does not answer.
        """
        running, ended = self._tick(args=[self._lease_s])
        reaped = self._reap(tuple(map(text, ended))) if ended and self._settled() else ()
        restored, waiting = self._restore_now_and_then()
        self._waiting = self._waiting if waiting < 0 else waiting
        self.is_idle = not running and self._waiting == 0
        for job_id in reaped:
            logger.warning("job %s: its worker was lost, queued again", job_id)
        for job_id in restored:
            logger.warning("job %s: had fallen out of the queue, queued again", job_id)
        return Reconciled(reaped, restored)

    def reap(self, job_id: str, problem: Problem) -> bool:
        """Queue a job again whose lease has ended, or fail it with `problem` if that happened too often.

        Return whether it was queued.
        """
        next_attempt = int(self._reap_script(args=[job_id, self._max_losses, encode_problem(problem)]))
        if next_attempt:
            self._lists.enqueue(job_id, next_attempt, at_front=True)
        return next_attempt > 0

    def _reap(self, ended: Sequence[str]) -> tuple[str, ...]:
        """Reap jobs whose lease has ended; return the ids of those queued again."""
        return tuple(job_id for job_id in ended if self.reap(job_id, WORKER_LOST))

    def _settled(self) -> bool:
        """Return whether an ended lease means a lost worker.

        While the server was down, or this whole machine slept, nobody could renew a lease. Workers get one
        lease's time to do so after the server's start and after a gap between ticks.
        """
        is_up = self._redis.info("server")["uptime_in_seconds"] >= self._lease_s
        return bool(is_up and not self._redis.exists(SETTLING))

    def _restore_now_and_then(self) -> tuple[tuple[str, ...], int]:
        """Call `_restore` at some ticks only; return what it put back, and how many jobs wait.

        The number is -1 at the other ticks.
        """
        now = time.monotonic()
        if now < self._restore_at:
            return (), -1
        self._restore_at = now + self._lost_after_s
        waiting, ordered, *overdue = self._overdue()
        if waiting != ordered or not self._is_indexed:
            index_orders(self._redis, always=waiting != ordered)
            self._is_indexed = True
            waiting, _, *overdue = self._overdue()
        lost = self._lost([text(job_id) for job_id in chain.from_iterable(overdue)])
        return (self._restore(lost) if lost else ()), waiting

    def _overdue(self) -> Any:
        """Return the reply of `lua_fleet.OVERDUE`."""
        return self._overdue_script(keys=self._lists.keys, args=[MOST, *QUEUES])

    def _lost(self, overdue: Sequence[str]) -> list[tuple[str, int]]:
        """Return which of the overdue jobs, and which attempt, are in no list and have been so for a while.

        A job that a worker has just taken is missing for milliseconds, so a job must stay missing to count.
        """
        if not overdue:
            return []
        waiting = self._attempts(overdue)
        missed = [
            one for one, listed in zip(waiting, self._lists.are_listed(waiting), strict=True) if not listed
        ]
        now = self._now()
        pipeline = self._redis.pipeline(transaction=False)
        for job_id, _ in missed:
            pipeline.zadd(MISSING, {job_id: now}, nx=True)
            pipeline.zscore(MISSING, job_id)
        since = pipeline.execute()[1::2]
        return [
            one
            for one, start in zip(missed, since, strict=True)
            if now - (now if start is None else float(start)) >= self._lost_after_s
        ]

    def _restore(self, lost: Sequence[tuple[str, int]]) -> tuple[str, ...]:
        """Put attempts back into RQ's lists; return the ids, oldest first; none while another does so."""
        lock = self._redis.lock(LOCK, timeout=LOCK_S)
        if not lock.acquire(blocking=False):
            return ()
        try:
            # Each goes to the very front of its priority's list, so they go from last to first.
            for job_id, attempt in reversed(lost):
                self._lists.hand_back(job_id, attempt)
            self._redis.zrem(MISSING, *(job_id for job_id, _ in lost))
        finally:
            with suppress(LockError):
                lock.release()
        return tuple(sorted(job_id for job_id, _ in lost))

    def _now(self) -> float:
        """Return the Unix seconds of the queue server's clock, the only one that leases know."""
        seconds, microseconds = self._redis.time()
        return float(seconds) + float(microseconds) / 1e6

    def _attempts(self, job_ids: Sequence[str]) -> list[tuple[str, int]]:
        """Return ids and attempts of jobs. Those whose attempt is no number fail: no worker takes them."""
        pipeline = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipeline.hget(job_key(job_id), "attempt")
        attempts = []
        for job_id, reply in zip(job_ids, pipeline.execute(), strict=True):
            try:
                if reply:
                    attempts.append((job_id, count_of(text(reply))))
            except ValueError as error:
                invalid = RecordInvalidError.of(f"The record of job {job_id}", error)
                self._fail(args=[job_id, encode_problem(record_problem(invalid))])
        return attempts
