"""Server-sent events of a job."""

from collections.abc import AsyncIterable, Iterable
from typing import Annotated

from fastapi import APIRouter, Depends, Header, HTTPException
from fastapi.sse import EventSourceResponse, ServerSentEvent
from redis.exceptions import RedisError

from workers.errors import JobNotFoundError
from workers.jobs import Job

from ..dependencies import Queue, Watches
from ..events import Snapshot
from ..openapi import Responses, problems
from ..schemas import JobOut
from ..tiles.job_labels import Coverage

STREAM: Responses = {
    200: {
        "description": "`job` events hold the job, as GET does. `patches` events hold the indices of patches "
        "newly stored, the first one of all so far, and the `version` of the tiles with them",
        "content": {
            "text/event-stream": {
                "example": 'event: patches\ndata: {"version": "18c-2", "patches": [3, 4]}\nid: 18c-1b7-4\n\n'
            }
        },
    },
    204: {"description": "`Last-Event-ID` is that of the last event: the job is over, and nothing follows"},
    **problems(JobNotFoundError, RedisError),
}

router = APIRouter(prefix="/jobs/{job_id}/events", tags=["jobs"])


LastEventId = Annotated[
    str | None, Header(description="Go on after this event: patches told before are left out")
]

OVER = "-over"
"""End of the id of a stream's last event."""


def existing_job(job_id: str, queue: Queue, last_event_id: LastEventId = None) -> Job:
    """Return the job, so that one that does not exist is refused before the stream begins.

    Raises:
        JobNotFoundError: when there is none.
        HTTPException: 204 when the client heard the last event: browsers then stop to ask.
    """
    job = queue.get(job_id)
    if job.state.is_final and (last_event_id or "").endswith(OVER):
        raise HTTPException(204)
    return job


@router.get("", response_class=EventSourceResponse, responses=STREAM)
async def get_job_events(
    job: Annotated[Job, Depends(existing_job)],
    watches: Watches,
    last_event_id: LastEventId = None,
) -> AsyncIterable[ServerSentEvent]:
    """Hear of a job: at once, then of every change and of every patch stored, until it is over."""
    told = Told(last_event_id)
    async for snapshot in watches.snapshots(job.id):
        for event in told.events(snapshot):
            yield event


class Told:
    """What one listener was told so far."""

    def __init__(self, last_event_id: str | None) -> None:
        """Begin anew, or after an event of an earlier stream: its id says up to which patch."""
        self._job: JobOut | None = None
        self._version: str | None = None
        self._plan, _, rest = (last_event_id or "").removesuffix(OVER).partition("-")
        time, _, index = rest.partition("-")
        try:
            self._last = (int(time), int(index))
        except ValueError:
            self._last = (-1, -1)
        self._patches: set[int] = set()

    def events(self, snapshot: Snapshot) -> Iterable[ServerSentEvent]:
        """Yield what is new in a snapshot; patches before the state that says that they are all."""
        job = JobOut.of(snapshot.job, snapshot.queue_position)
        is_over = snapshot.job.state.is_final
        if job != self._job and not is_over:
            yield ServerSentEvent(event="job", data=job, id=self._id)
        if snapshot.coverage is not None and snapshot.coverage.version != self._version:
            yield self._new_patches(snapshot.coverage)
        if is_over:
            yield ServerSentEvent(event="job", data=job, id=f"{self._id}{OVER}")
        self._job = job

    def _new_patches(self, coverage: Coverage) -> ServerSentEvent:
        if coverage.plan != self._plan:
            self._plan, self._last, self._patches = coverage.plan, (-1, -1), set()
        new = [
            index
            for index, time in coverage.patches.items()
            if index not in self._patches and (self._version is not None or (time, index) > self._last)
        ]
        self._patches.update(coverage.patches)
        self._last = max([self._last, *((time, index) for index, time in coverage.patches.items())])
        self._version = coverage.version
        data = {"version": coverage.version, "patches": new}
        return ServerSentEvent(event="patches", data=data, id=self._id)

    @property
    def _id(self) -> str:
        time, index = self._last
        return f"{self._plan}-{time}-{index}" if time >= 0 else f"{self._plan}-"
