"""Slide routes: upload, register in place, list, get, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from redis.exceptions import RedisError

from wsi.errors import SlideLimitError, SlideUnreadableError

from ..dependencies import Caller, Inspections, Queue, Settings, Slides
from ..errors import (
    ArchiveError,
    RequestInvalidError,
    RootNotAllowedError,
    SlideInUseError,
    SlideNameError,
    SlideNotFoundError,
    SlideTooLargeError,
    StorageFullError,
    UploadIdleError,
)
from ..openapi import problems
from ..receive import stream_body
from ..schemas import PREFIX, SHA256, SlideList, SlideOut, SlideRegister
from ..slides.store import StoredSlide
from .jobs import declared_length

router = APIRouter(prefix="/slides", tags=["slides"])

RAW_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
UPLOAD_PROBLEMS = problems(
    SlideTooLargeError,
    RequestInvalidError,
    SlideNameError,
    ArchiveError,
    SlideUnreadableError,
    SlideLimitError,
    StorageFullError,
    UploadIdleError,
)


@router.put("", status_code=201, response_model=SlideOut, openapi_extra=RAW_BODY, responses=UPLOAD_PROBLEMS)
async def upload_slide(
    request: Request,
    response: Response,
    slides: Slides,
    inspections: Inspections,
    settings: Settings,
    caller: Caller,
    filename: Annotated[
        str,
        Query(description="The slide's file name; a zip is taken as a folder slide", examples=["slide.svs"]),
    ],
) -> SlideOut:
    """Upload a slide as the raw body: `curl -T slide.svs 'http://host/v1/slides?filename=slide.svs'`."""
    async with contextmanager_in_threadpool(slides.upload(declared_length(request))) as upload:
        upload.name = filename
        await stream_body(request, upload.write, idle_s=settings.upload_idle_s)
        async with inspections:
            slide = await run_in_threadpool(slides.commit, upload, caller.owner)
    return created(response, slide)


@router.post(
    "",
    status_code=201,
    response_model=SlideOut,
    responses=problems(
        RootNotAllowedError,
        RequestInvalidError,
        SlideNameError,
        SlideNotFoundError,
        SlideUnreadableError,
        SlideLimitError,
        StorageFullError,
    ),
)
async def register_slide(
    body: SlideRegister, response: Response, slides: Slides, inspections: Inspections, caller: Caller
) -> SlideOut:
    """Register a slide without sending it.

    By `uri` one that already lies on the service's disks; it is not copied. By `sha256` and `filename` one
    whose bytes were uploaded before, whatever it was called then: 404 says that they must be sent.
    """
    async with inspections:
        if body.uri is not None:
            slide = await run_in_threadpool(slides.register, body.uri)
        else:
            assert body.sha256 is not None and body.filename is not None, "SlideRegister sees to that"  # noqa: PT018
            slide = await run_in_threadpool(slides.refer, body.sha256, body.filename, caller.owner)
    return created(response, slide)


@router.get("", response_model=SlideList, responses=problems(RequestInvalidError))
def list_slides(
    slides: Slides,
    sha256: Annotated[
        str | None,
        Query(pattern=SHA256, description="Only uploads of these bytes: ask before sending them."),
    ] = None,
) -> SlideList:
    """List every slide, newest first, or those that were uploaded with this sha256."""
    found = slides.list() if sha256 is None else slides.with_sha256(sha256)
    return SlideList(slides=[SlideOut.of(slide) for slide in found])


@router.get("/{slide_id}", response_model=SlideOut, responses=problems(SlideNotFoundError))
def get_slide(slide_id: str, slides: Slides) -> SlideOut:
    """Get one slide and the facts its file states."""
    return SlideOut.of(slides.get(slide_id))


@router.delete(
    "/{slide_id}",
    status_code=204,
    responses=problems(SlideNotFoundError, SlideInUseError, RedisError),
)
def delete_slide(slide_id: str, slides: Slides, queue: Queue) -> None:
    """Remove a slide; results of its finished jobs stay, and so do other slides of the same bytes."""
    slides.get(slide_id)
    busy = queue.unfinished(slide_id)
    if busy:
        raise SlideInUseError(f"Job {busy[0]} still reads this slide; cancel it or wait for it.")
    slides.delete(slide_id)


def created(response: Response, slide: StoredSlide) -> SlideOut:
    """Set `Location` and return the JSON form of a slide that was stored."""
    response.headers["Location"] = f"{PREFIX}/slides/{slide.id}"
    return SlideOut.of(slide)
