"""Batch routes: send many slides, see how far they are, pause, resume, cancel, and get areas as CSV."""

import hashlib
import json
from collections import Counter
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from redis.exceptions import RedisError

from workers.batches import Batch
from workers.errors import BatchFinalError, BatchNotFoundError, JobFinalError, JobNotFoundError
from workers.jobs import JOB_ID
from workers.queue.batches import BatchStore
from workers.queue.client import JobClient
from wsi.errors import HaloError, MppOutOfRangeError, OutputUnavailableError

from ..batch_schemas import BatchCreate, BatchList, BatchOut
from ..batches.entries import entries_of
from ..batches.table import table_of
from ..dependencies import Batches, Caller, Queue, Settings
from ..errors import (
    ModelNotReadyError,
    ModelUnknownError,
    PrecisionError,
    RequestInvalidError,
    RootNotAllowedError,
)
from ..model_schemas import class_names
from ..openapi import Responses, problems
from ..schemas import PREFIX
from ..submission import preflight

router = APIRouter(prefix="/batches", tags=["batches"])

REFUSALS = problems(
    RequestInvalidError,
    RootNotAllowedError,
    ModelUnknownError,
    PrecisionError,
    MppOutOfRangeError,
    HaloError,
    OutputUnavailableError,
    ModelNotReadyError,
    RedisError,
)
ONE = problems(BatchNotFoundError, RedisError)
CHANGE = problems(BatchNotFoundError, BatchFinalError, RedisError)
TABLE: Responses = {
    200: {
        "description": "A line a slide, in the order in which they were sent",
        "content": {
            "text/csv": {
                "schema": {"type": "string"},
                "example": "slide,path,state,mpp,mpp_source,tissue_mm2,normal mm2,normal fraction,warnings,"
                "error,job_id,model,model_sha256\n",
            }
        },
    },
    **ONE,
}


@router.post("", status_code=202, response_model=BatchOut, responses=REFUSALS)
def create_batch(
    body: BatchCreate,
    response: Response,
    queue: Queue,
    batches: Batches,
    settings: Settings,
    caller: Caller,
    idempotency_key: Annotated[
        str | None, Header(max_length=200, description="Send it again with the same body, get the same batch")
    ] = None,
) -> BatchOut:
    """Send many slides to run with the same options. They become jobs a few at a time.

    No slide is opened here: one that cannot be run has failed when its turn comes, and the CSV says why.
    """
    accepted = preflight(queue, body.options())
    entries = entries_of(body, tuple(root.resolve() for root in settings.slide_roots))
    sent = body.options().model_dump(mode="json")
    options = json.dumps({"sent": sent, "shown": accepted.parameters.model_dump(mode="json")})
    batch = batches.create(
        entries,
        name=body.name,
        owner=caller.owner,
        model=accepted.model.name,
        options=options,
        batch_id=id_of(idempotency_key, caller.owner, body) if idempotency_key else None,
    )
    response.headers["Location"] = f"{PREFIX}/batches/{batch.id}"
    return batch_out(queue, batches, batch)


@router.get("", response_model=BatchList, responses=problems(RequestInvalidError, RedisError))
def list_batches(
    queue: Queue,
    batches: Batches,
    cursor: Annotated[
        str | None, Query(pattern=f"^{JOB_ID.pattern}$", description="The `next_cursor` of the page before")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> BatchList:
    """List batches, newest first, a page at a time."""
    page, next_cursor = batches.list(cursor, limit)
    shown = []
    for batch in page:
        with suppress(BatchNotFoundError):
            shown.append(batch_out(queue, batches, batch))
    return BatchList(batches=shown, next_cursor=next_cursor)


@router.get("/{batch_id}", response_model=BatchOut, responses=ONE)
def get_batch(batch_id: str, queue: Queue, batches: Batches) -> BatchOut:
    """Get one batch and how far it is."""
    return batch_out(queue, batches, batches.get(batch_id))


@router.post("/{batch_id}/pause", response_model=BatchOut, responses=CHANGE)
def pause_batch(batch_id: str, queue: Queue, batches: Batches) -> BatchOut:
    """Begin no further slide; the few that wait in the queue or run go on."""
    return batch_out(queue, batches, batches.pause(batch_id))


@router.post("/{batch_id}/resume", response_model=BatchOut, responses=CHANGE)
def resume_batch(batch_id: str, queue: Queue, batches: Batches) -> BatchOut:
    """Go on with a batch that was paused."""
    return batch_out(queue, batches, batches.resume(batch_id))


@router.post("/{batch_id}/cancel", status_code=202, response_model=BatchOut, responses=CHANGE)
def cancel_batch(batch_id: str, queue: Queue, batches: Batches) -> BatchOut:
    """Begin no further slide, and cancel the jobs that wait or run. Results stay."""
    batch = batches.cancel(batch_id)
    for index in batch.live:
        slide = batches.slide(batch_id, index)
        if slide is not None and slide.job_id is not None:
            try:
                queue.cancel(slide.job_id)
            except (JobFinalError, JobNotFoundError):
                continue
    return batch_out(queue, batches, batches.get(batch_id))


@router.delete("/{batch_id}", status_code=204, responses=ONE)
def delete_batch(batch_id: str, batches: Batches) -> None:
    """Forget a batch; its jobs and their results stay."""
    batches.delete(batch_id)


@router.get("/{batch_id}/slides.csv", response_class=StreamingResponse, responses=TABLE)
def get_batch_slides(batch_id: str, queue: Queue, batches: Batches) -> StreamingResponse:
    """Download what became of each slide: state, areas of the classes, warnings, errors."""
    batch = batches.get(batch_id)
    names = (class_names(card) for card in queue.models().cards if card["name"] == batch.model)
    classes = next(names, ())
    disposition = f'attachment; filename="batch-{batch.id}.slides.csv"'
    return StreamingResponse(
        table_of(batches, queue, batch_id, classes),
        media_type="text/csv",
        headers={"Content-Disposition": disposition},
    )


def batch_out(queue: JobClient, batches: BatchStore, batch: Batch) -> BatchOut:
    """Return the JSON form of a batch."""
    slides = [batches.slide(batch.id, index) for index in batch.live]
    jobs = queue.get_many([slide.job_id for slide in slides if slide is not None and slide.job_id])
    return BatchOut.of(batch, dict(Counter(job.state for job in jobs)))


def id_of(key: str, owner: str, body: BatchCreate) -> str:
    """Return the id of the batch that a key stands for together with a body."""
    text = json.dumps([key, owner, body.model_dump_json()])
    return hashlib.sha256(text.encode()).hexdigest()[:24]
