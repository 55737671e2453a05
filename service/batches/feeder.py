"""Turn slides of batches into jobs as workers take them: a few wait in the queue, however many are to come.

Slides are registered only when their turn comes. What has begun is in Redis, so another process goes on where
one died; under an idempotency key a slide becomes one job, however often that is tried.
"""

import asyncio
import contextlib
import json
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

from fastapi.concurrency import run_in_threadpool
from redis.exceptions import RedisError

from workers.batches import Batch, BatchEntry
from workers.errors import BatchNotFoundError, JobNotFoundError, WorkersError
from workers.jobs import JobState
from workers.queue.batches import BatchStore
from workers.queue.client import JobClient
from wsi.errors import WsiError

from ..errors import ModelNotReadyError, RequestInvalidError, ServiceError, StorageFullError
from ..schemas import JobOptions
from ..slides.store import SlideStore, StoredSlide
from ..submission import submit_job

logger = logging.getLogger(__name__)

EVERY_S = 1.0
"""Seconds between two looks at the batches."""

IDLE_S = 3.0
"""The same while no batch is active: looking costs the queue commands."""

TURN_S = 15
"""For how long one process feeds before others may, in seconds; renewed at every look."""

SPARE = 2
"""Jobs of one owner's batches that may wait beyond twice the number of workers."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """A slide whose turn has come."""

    batch: Batch
    index: int


class BatchFeeder:
    """Feeds the queue with jobs of batches. For one event loop; of several processes one feeds."""

    def __init__(
        self, batches: BatchStore, queue: JobClient, slides: SlideStore, inspections: asyncio.Semaphore
    ) -> None:
        self._batches = batches
        self._queue = queue
        self._slides = slides
        self._inspections = inspections
        self._name = secrets.token_hex(8)
        self._under_way: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._is_idle = False

    @contextlib.asynccontextmanager
    async def feeding(self) -> AsyncIterator[None]:
        """Feed inside the context."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            for begun in self._under_way.values():
                begun.cancel()

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except RedisError as error:
                logger.debug("batches wait for the queue: %s", error)
            except Exception:
                logger.exception("batches cannot be looked at")
            await asyncio.sleep(IDLE_S if self._is_idle else EVERY_S)

    async def look(self) -> None:
        """Note which slides are over, and begin as many as the queue should hold."""
        for begun in await run_in_threadpool(self._due):
            place = (begun.batch.id, begun.index)
            if place not in self._under_way:
                self._under_way[place] = task = asyncio.create_task(self._submit(begun))
                task.add_done_callback(partial(self._end, place))

    def _end(self, place: tuple[str, int], _: asyncio.Task[None]) -> None:
        self._under_way.pop(place, None)

    def _due(self) -> list[_Begun]:
        """Settle what is over; return the slides that have begun and are no jobs yet."""
        active = self._batches.active()
        self._is_idle = not active
        if not active or not self._queue.take_turn("batch-feeder", self._name, TURN_S):
            return []
        window = 2 * len(self._queue.live_workers()) + SPARE
        held: Counter[str] = Counter()
        begun: list[_Begun] = []
        batches = [batch for one in active if (batch := self._settled(one)) is not None]
        for batch in batches:
            held[batch.owner] += len(batch.live)
            begun += [_Begun(batch, index) for index in batch.live if not self._is_job(batch.id, index)]
        # In turn, so that two batches of one owner go on side by side.
        while batches:
            for batch in tuple(batches):
                index = None if held[batch.owner] >= window else self._batches.begin(batch.id)
                if index is None:
                    batches.remove(batch)
                else:
                    held[batch.owner] += 1
                    begun.append(_Begun(batch, index))
        return begun

    def _settled(self, batch_id: str) -> Batch | None:
        """Note which slides of a batch are over, and return it as it is then; None if it is gone."""
        try:
            batch = self._batches.get(batch_id)
            over = [(index, self._end_of(batch_id, index)) for index in batch.live]
            for index, state in over:
                if state is not None:
                    self._batches.settle(batch_id, index, state)
            return self._batches.get(batch_id)
        except BatchNotFoundError:
            return None

    def _end_of(self, batch_id: str, index: int) -> JobState | None:
        """Return how a slide ended, None if it has not."""
        slide = self._batches.slide(batch_id, index)
        if slide is None or slide.job_id is None:
            return None
        try:
            state = self._queue.get(slide.job_id).state
        except JobNotFoundError:
            return JobState.CANCELLED
        return state if state.is_final else None

    def _is_job(self, batch_id: str, index: int) -> bool:
        slide = self._batches.slide(batch_id, index)
        return slide is not None and slide.job_id is not None

    async def _submit(self, begun: _Begun) -> None:
        """Make a job of a slide; what can be tried again stays as it is."""
        try:
            async with self._inspections:
                await run_in_threadpool(self._make_job, begun)
        except (RedisError, ModelNotReadyError, StorageFullError) as error:
            logger.info("batch %s waits: %s", begun.batch.id, error)
        except (ServiceError, WorkersError, WsiError) as error:
            await self._refuse(begun, str(error))
        except Exception:
            logger.exception("slide %d of batch %s cannot become a job", begun.index, begun.batch.id)
            await self._refuse(begun, "This is a fault of the service; its log says more.")

    async def _refuse(self, begun: _Begun, why: str) -> None:
        settle = self._batches.settle
        with contextlib.suppress(RedisError):  # it will be tried again
            await run_in_threadpool(settle, begun.batch.id, begun.index, JobState.FAILED, why)

    def _make_job(self, begun: _Begun) -> None:
        batch, index = begun.batch, begun.index
        slide = self._batches.slide(batch.id, index)
        if slide is None:
            return
        if self._batches.get(batch.id).state.is_final:
            self._batches.settle(batch.id, index, JobState.CANCELLED)
            return
        options = JobOptions.model_validate(json.loads(batch.options)["sent"])
        if slide.entry.mpp is not None:
            options = options.model_copy(update={"mpp": slide.entry.mpp})
        submitted = submit_job(
            self._queue,
            self._stored(slide.entry),
            options,
            idempotency_key=f"batch {batch.id} {index}",
            lane=f"{batch.owner}/batches",
        )
        self._batches.note_job(batch.id, index, submitted.job.id)

    def _stored(self, entry: BatchEntry) -> StoredSlide:
        if entry.slide_id is not None:
            return self._slides.get_readable(entry.slide_id)
        if entry.uri is None:
            raise RequestInvalidError("What the batch holds of this slide cannot be read.")
        return self._slides.register(entry.uri)
