"""Put attempts into RQ's lists, take them out and look at them.

RQ only carries (job id, attempt) to a worker: which jobs there are and how they stand is in the records.
Every method raises `redis.exceptions.RedisError` when the queue server does not answer.
"""

from collections.abc import Sequence

import rq
import rq.job
from redis import Redis

from ..jobs import Priority
from .connection import text
from .records import job_key

QUEUES: dict[Priority, str] = {"high": "darefine-high", "normal": "darefine"}
"""RQ's queues in the order in which workers listen to them: first in, first out within each priority.

From more than one list RQ takes a job without keeping a copy of it; should a worker die just then,
`workers.queue.reconciler` queues the job again.
"""

TASK = "workers.rq_worker.tasks.run_job"
"""Dotted name of the task, so that whoever submits need not import it."""

RQ_TTL_S = 60
"""How long RQ keeps its own record of a run that is over, in seconds; nobody asks for it."""


class RqLists:
    """RQ's lists of waiting attempts, one for each priority."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._queues = {
            priority: rq.Queue(name, connection=redis, serializer="json") for priority, name in QUEUES.items()
        }

    def enqueue(self, job_id: str, attempt: int, *, at_front: bool = False) -> None:
        """Hand an attempt to RQ, unless the job was deleted meanwhile.

        RQ's job id holds the attempt, so an old entry can never run a new attempt.
        """
        state, priority = self._redis.hmget(job_key(job_id), "state", "priority")
        if state is None:
            return
        self._queues["high" if priority == b"high" else "normal"].enqueue_call(
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
        for queue in self._queues.values():
            queue.remove(name)
        self._redis.delete(rq.job.Job.key_for(name))

    def hand_back(self, job_id: str, attempt: int) -> None:
        """Put an attempt that has fallen out of RQ's lists before all others of its priority."""
        self.dequeue(job_id, attempt)
        self.enqueue(job_id, attempt, at_front=True)

    def are_listed(self, attempts: Sequence[tuple[str, int]]) -> tuple[bool, ...]:
        """Return whether each (job id, attempt) waits in a list. Each takes a walk along the lists."""
        pipeline = self._redis.pipeline(transaction=False)
        for job_id, attempt in attempts:
            for queue in self._queues.values():
                pipeline.lpos(queue.key, rq_id(job_id, attempt))
        replies, lists = pipeline.execute(), len(self._queues)
        return tuple(
            any(index is not None for index in replies[start : start + lists])
            for start in range(0, len(replies), lists)
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the lists, in the order in which workers listen to them."""
        return tuple(queue.key for queue in self._queues.values())

    def listed(self) -> set[str]:
        """Return RQ's names of all attempts that wait in its lists."""
        # Not `job_ids`, which raises at a name that is not Unicode.
        lists = [self._redis.lrange(queue.key, 0, -1) for queue in self._queues.values()]
        return {text(name) for names in lists for name in names}

    def waiting(self, limit: int) -> tuple[str, ...]:
        """Return the ids of the first waiting jobs, at most `limit`, in the order in which workers take them.

        Takes none.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for queue in self._queues.values():
            pipeline.lrange(queue.key, 0, limit - 1)
        names = [text(name) for listed in pipeline.execute() for name in listed][:limit]
        return tuple(name.rpartition("-")[0] for name in names)

    def position(self, job_id: str, attempt: int) -> int | None:
        """Return how many attempts will be taken before this one; None if it does not wait."""
        before = 0
        for index, length in self._indices(rq_id(job_id, attempt)):
            if index is not None:
                return before + index
            before += length
        return None

    def _indices(self, name: str) -> tuple[tuple[int | None, int], ...]:
        """Return the index of `name` in each list and the list's length, at one moment, first list first."""
        pipeline = self._redis.pipeline()
        for queue in self._queues.values():
            pipeline.lpos(queue.key, name)
            pipeline.llen(queue.key)
        replies = pipeline.execute()
        return tuple(zip(replies[::2], replies[1::2], strict=True))


def rq_id(job_id: str, attempt: int) -> str:
    """Return RQ's name for one attempt of a job."""
    return f"{job_id}-{attempt}"
