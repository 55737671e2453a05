"""Rebuild the indices over jobs that are not over: the order of those that wait, the jobs of each slide.

The scripts of `workers.queue.lua` keep them. They are made anew, from all records of such jobs, only where
they cannot be right: after an upgrade from a version without them, a recovery, or somebody else's writing.
"""

import logging
from collections.abc import Sequence
from typing import Any

from redis import Redis

from ..errors import RecordInvalidError
from ..jobs import JobState, is_job_id
from .connection import text
from .records import PREFIX, decode_request, job_key, own_fields, slide_key, state_key
from .rq_lists import QUEUES

logger = logging.getLogger(__name__)

SEQUENCE = f"{PREFIX}sequence"
INDEXED = f"{PREFIX}indexed"
"""Key that says that the indices were made once."""

BATCH = 500

MOST = 5000
"""Jobs that are given a place in one call: a tick of the reconciler must not take long."""


def order_key(priority: str) -> str:
    """Return the key of the sorted set of waiting jobs of a priority."""
    return f"{PREFIX}order:{priority}"


def index_orders(redis: Redis, *, always: bool, most: int = MOST) -> None:
    """Give waiting jobs a place that have none, `most` at a time, oldest first, and take others' places away.

    Jobs that are not over are entered under their slides, too. Unless `always` is true, nothing is done
    where it was done before.
    """
    if not redis.set(INDEXED, 1, nx=True) and not always:
        return
    waiting, running = (
        [text(key) for key in redis.zrange(state_key(state), 0, -1)]
        for state in (JobState.QUEUED, JobState.RUNNING)
    )
    placed = {text(key) for priority in QUEUES for key in redis.zrange(order_key(priority), 0, -1)}
    if strangers := [key for key in waiting if not is_job_id(key)]:
        redis.zrem(state_key(JobState.QUEUED), *strangers)
    if gone := placed.difference(waiting):
        for priority in QUEUES:
            redis.zrem(order_key(priority), *gone)
    new = [job_id for job_id in waiting if is_job_id(job_id) and job_id not in placed][:most]
    others = [job_id for job_id in running if is_job_id(job_id)]
    for start in range(0, len(new), BATCH):
        _enter(redis, new[start : start + BATCH], placed=True)
    for start in range(0, len(others), BATCH):
        _enter(redis, others[start : start + BATCH], placed=False)
    if new:
        logger.info("%d waiting jobs were entered into the order of the queue", len(new))


def _enter(redis: Redis, job_ids: Sequence[str], *, placed: bool) -> None:
    """Enter jobs under their slides and, if they wait, behind those that have a place."""
    reading = redis.pipeline(transaction=False)
    for job_id in job_ids:
        reading.hget(job_key(job_id), "request")
    last = int(redis.incrby(SEQUENCE, len(job_ids)))
    writing = redis.pipeline(transaction=True)
    for number, (job_id, encoded) in enumerate(zip(job_ids, reading.execute(), strict=True)):
        priority = "normal"
        if encoded is not None:
            try:
                request = decode_request(text(encoded))
            except RecordInvalidError:
                logger.warning("job %s: its request cannot be read", job_id)
            else:
                priority = request.priority
                fields: dict[Any, Any] = dict(own_fields(request))
                writing.hset(job_key(job_id), mapping=fields)
                writing.sadd(slide_key(request.slide_id), job_id)
        if placed:
            writing.zadd(order_key(priority), {job_id: last - len(job_ids) + 1 + number}, nx=True)
    writing.execute()
