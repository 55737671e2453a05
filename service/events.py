"""Watch jobs for listeners of server-sent events: one look a job and tick, however many listen."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from fastapi.concurrency import run_in_threadpool
from redis.exceptions import RedisError

from workers.errors import JobNotFoundError
from workers.jobs import Job, JobState
from workers.queue.client import JobClient

from .errors import ResultNotReadyError
from .tiles.job_labels import Coverage, JobLabelsCache

logger = logging.getLogger(__name__)

INTERVAL_S = 0.5
"""Seconds between two looks at a job."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A job as it was at one look."""

    job: Job
    queue_position: int | None
    coverage: Coverage | None = None
    """How far its label map is filled; None before it is planned."""


@dataclass(slots=True)
class _Watch:
    """A job that somebody listens to."""

    task: asyncio.Task[None]
    listeners: int = 0
    latest: Snapshot | None = None
    ended: bool = False
    """Whether there is nothing more to see: the job is over, or gone."""
    turned: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at a change and replaced by a new one."""

    def turn(self) -> None:
        """Wake all who listen."""
        turned, self.turned = self.turned, asyncio.Event()
        turned.set()


class JobWatches:
    """The jobs that somebody listens to. For one event loop."""

    def __init__(self, queue: JobClient, labels: JobLabelsCache) -> None:
        self._queue = queue
        self._labels = labels
        self._watches: dict[str, _Watch] = {}
        self._closed = False

    def close(self) -> None:
        """End all streams, so that the server can stop."""
        self._closed = True
        for watch in self._watches.values():
            watch.turn()

    async def snapshots(self, job_id: str) -> AsyncGenerator[Snapshot]:
        """Yield the job as it is now and after each change, to its last state; end when the server stops.

        A listener that is slow misses what lies between, never the last.
        """
        watch = self._watches.get(job_id)
        if watch is None:
            watch = self._watches[job_id] = _Watch(asyncio.create_task(self._follow(job_id)))
        watch.listeners += 1
        seen: Snapshot | None = None
        try:
            while not self._closed:
                # Both before anything is awaited: a change meanwhile must not be lost.
                turned, ended, latest = watch.turned, watch.ended, watch.latest
                if latest is not None and latest is not seen:
                    seen = latest
                    yield latest
                elif ended:
                    return
                else:
                    await turned.wait()
        finally:
            watch.listeners -= 1
            if not watch.listeners:
                watch.task.cancel()
                self._watches.pop(job_id, None)

    async def wait(self, job_id: str, seconds: float) -> None:
        """Return when the job is over or gone, the server stops, or `seconds` have passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), contextlib.aclosing(self.snapshots(job_id)) as snapshots:
                async for _ in snapshots:
                    pass

    async def _follow(self, job_id: str) -> None:
        """Look at the job until it is over, and wake the listeners at every change."""
        while True:
            await self._look(self._watches[job_id], job_id)
            if self._watches[job_id].ended:
                return
            await asyncio.sleep(INTERVAL_S)

    async def _look(self, watch: _Watch, job_id: str) -> None:
        try:
            snapshot = await run_in_threadpool(self._snapshot, job_id)
        except JobNotFoundError:
            watch.ended = True
            watch.turn()
            return
        except RedisError:
            return  # the queue is restarted; listeners wait
        except Exception:
            logger.exception("job %s cannot be watched", job_id)
            watch.ended = True
            watch.turn()
            return
        if snapshot != watch.latest:
            watch.latest, watch.ended = snapshot, snapshot.job.state.is_final
            watch.turn()

    def _snapshot(self, job_id: str) -> Snapshot:
        job = self._queue.get(job_id)
        position = self._queue.position(job_id) if job.state is JobState.QUEUED else None
        try:
            labels = self._labels.of(job)
        except ResultNotReadyError:
            return Snapshot(job, position)
        return Snapshot(job, position, labels.coverage(look=True))
