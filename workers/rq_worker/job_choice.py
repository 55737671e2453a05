"""Choose the job to run: the one that RQ took if this worker can run it, else the next that it can."""

import json
import logging
import time
from collections.abc import Sequence
from typing import Any

import rq
import rq.job
from redis import Redis
from rq.exceptions import NoSuchJobError

from ..errors import JobNotFoundError
from ..jobs import JobState, is_job_id
from ..queue.records import JobRecords
from ..queue.refusals import WRONG_STORAGE, Refusals
from ..queue.registry import WorkerInfo
from ..queue.storage import read_token
from ..settings import WorkerSettings

logger = logging.getLogger(__name__)

GIVE_UP_S = 5.0
"""How often it is looked whether jobs that this worker cannot run have others that can, in seconds."""


class JobChoice:
    """The choice of jobs of one worker. Puts back what is for others."""

    def __init__(self, redis: Redis, refusals: Refusals, settings: WorkerSettings) -> None:
        self._records = JobRecords(redis, settings.jobs_dir)
        self._refusals = refusals
        self._settings = settings
        self._give_up_at = 0.0

    def choose(
        self, job: rq.job.Job, queue: rq.Queue, worker: WorkerInfo, job_class: type[rq.job.Job]
    ) -> tuple[rq.job.Job, rq.Queue] | None:
        """Return the job to run and its queue, given the one that was taken; None if all are for others.

        Raises:
            redis.exceptions.RedisError: the queue server does not answer.
        """
        token = read_token(self._settings.data_dir)
        entry, key, reason = self._refusals.take(job.id, queue.key, worker, token)
        if entry == job.id:
            return job, queue
        if not entry:
            if reason != WRONG_STORAGE:
                self._look_for_takers(job.id)
            return None
        found = rq.Queue.from_queue_key(
            key, connection=queue.connection, job_class=job_class, serializer="json"
        )
        try:
            return job_class.fetch(entry, connection=queue.connection, serializer="json"), found
        except NoSuchJobError:
            # Its record goes on without it: the reconciler queues it again.
            return None

    def could_run_nowhere(self, job_id: str) -> bool:
        """Return whether a job has failed, or is gone, so that no host was fit for it.

        Raises:
            redis.exceptions.RedisError: the queue server does not answer.
        """
        try:
            return self._records.get(job_id).state in (JobState.FAILED, JobState.CANCELLED)
        except JobNotFoundError:
            return True

    def _look_for_takers(self, entry: str) -> None:
        """Fail the job of an entry that no live worker can run, once it has been so for a while."""
        job_id, now = entry.rpartition("-")[0], time.monotonic()
        if now < self._give_up_at or not is_job_id(job_id):
            return
        self._give_up_at = now + GIVE_UP_S
        try:
            job = self._records.get(job_id)
        except JobNotFoundError:
            return
        if self._refusals.give_up(job_id, job.request):
            logger.warning("job %s: no live worker can run it", job_id)


def weights_of(cards: Sequence[str]) -> tuple[str, ...]:
    """Return the sha256 of the weights of each model card (JSON text) that states one."""
    weights: list[Any] = [json.loads(card).get("weights") for card in cards]
    return tuple(str(one["sha256"]) for one in weights if isinstance(one, dict) and "sha256" in one)
