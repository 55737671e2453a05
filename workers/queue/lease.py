"""Own, report and finish attempts of jobs: the worker's side of the queue.

Every method raises `redis.exceptions.RedisError` when the queue server does not answer.
"""

import logging
from enum import IntEnum
from pathlib import Path

from redis import Redis

from ..errors import JobNotFoundError, RecordInvalidError
from ..identity import LabelIdentity
from ..jobs import Job, JobState, Problem, Progress, is_job_id
from . import lua, lua_fleet
from .records import JobRecords, encode_problem, progress_arguments, record_problem
from .refusals import Refusals
from .rq_lists import RqLists

logger = logging.getLogger(__name__)


class Ownership(IntEnum):
    """Answer to a heartbeat; the values are those of `lua.HEARTBEAT`."""

    LOST = 0
    HELD = 1
    CANCEL_REQUESTED = 2


class JobLease:
    """Worker's side of the queue: start attempts under a lease, renew it, publish how they ended.

    Every step names the attempt and is refused when another attempt is the running one.
    """

    def __init__(self, redis: Redis, jobs_root: Path, *, lease_s: float = 8.0, max_crashes: int = 2) -> None:
        """Job `id` keeps its files in `jobs_root/<id>`; see `workers.settings` for the limits."""
        self._lease_s = lease_s
        self._max_crashes = max_crashes
        self._records = JobRecords(redis, jobs_root)
        self._lists = RqLists(redis)
        self.refusals = Refusals(redis)
        """Which jobs workers cannot run."""
        self._pin = redis.register_script(lua_fleet.PIN)
        self._start = redis.register_script(lua.START)
        self._heartbeat = redis.register_script(lua.HEARTBEAT)
        self._finish = redis.register_script(lua.FINISH)
        self._release = redis.register_script(lua.RELEASE)
        self._retry = redis.register_script(lua.RETRY)

    def start(self, job_id: str, attempt: int, worker: str) -> Job | None:
        """Own an attempt: queued -> running under a lease. None if the attempt is stale, cancelled or taken.

        None, too, if the record cannot be read: the job has failed then. Id and attempt come from RQ's lists
        and may be anything.
        """
        if not is_job_id(job_id) or type(attempt) is not int:
            return None
        if not self._start(args=[job_id, attempt, worker, self._lease_s]):
            return None
        try:
            return self._records.read(job_id)
        except JobNotFoundError:
            return None
        except RecordInvalidError as error:
            logger.warning("%s", error)
            self.fail(job_id, attempt, record_problem(error))
            return None

    def heartbeat(self, job_id: str, attempt: int, progress: Progress | None = None) -> Ownership:
        """Renew the lease, save progress, and learn whether the job is still ours and still wanted."""
        reply = self._heartbeat(args=[job_id, attempt, self._lease_s, *progress_arguments(progress)])
        return Ownership(int(reply))

    def pin(self, job_id: str, attempt: int, identity: LabelIdentity) -> None:
        """Keep what makes a job's labels, unless an earlier attempt has done so."""
        self._pin(args=[job_id, attempt, identity.to_json()])

    def pinned(self, job_id: str) -> LabelIdentity | None:
        """Return what makes a job's labels as its first start pinned it; None if that cannot be read."""
        return self._records.identity(job_id)

    def succeed(self, job_id: str, attempt: int, progress: Progress | None = None) -> bool:
        """Publish success.

        False if the attempt is no longer the running one: somebody else's result counts.
        """
        return self._end(job_id, attempt, JobState.SUCCEEDED, None, progress)

    def fail(self, job_id: str, attempt: int, problem: Problem, progress: Progress | None = None) -> bool:
        """Publish a failure that trying again would not cure. False as in `succeed`."""
        return self._end(job_id, attempt, JobState.FAILED, problem, progress)

    def confirm_cancel(self, job_id: str, attempt: int, progress: Progress | None = None) -> bool:
        """Publish that a job asked to stop has stopped. False as in `succeed`."""
        return self._end(job_id, attempt, JobState.CANCELLED, None, progress)

    def release(self, job_id: str, attempt: int) -> bool:
        """Put a running job back before all others of its priority, without blame.

        False if it was not ours, or is cancelled.
        """
        next_attempt = int(self._release(args=[job_id, attempt]))
        if next_attempt:
            self._lists.enqueue(job_id, next_attempt, at_front=True)
        return next_attempt > 0

    def retry(
        self, job_id: str, attempt: int, worker: str, problem: Problem, progress: Progress | None = None
    ) -> int | None:
        """Count a crash and own the next attempt at once.

        None if the job is over (failed with `problem`, or cancelled) or was not ours.
        """
        limits = (self._lease_s, self._max_crashes)
        arguments = (*limits, encode_problem(problem), *progress_arguments(progress))
        return int(self._retry(args=(job_id, attempt, worker, *arguments))) or None

    def _end(
        self, job_id: str, attempt: int, state: JobState, problem: Problem | None, progress: Progress | None
    ) -> bool:
        encoded = encode_problem(problem) if problem else ""
        return bool(self._finish(args=[job_id, attempt, state, encoded, *progress_arguments(progress)]))
