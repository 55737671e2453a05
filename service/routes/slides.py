"""Slide routes: upload, register in place, list, get, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from redis.exceptions import RedisError

from wsi.errors import SlideLimitError, SlideUnreadableError

from ..dependencies import Inspections, Queue, Slides
from ..errors import (
    ArchiveError,
    RequestInvalidError,
    RootNotAllowedError,
    SlideInUseError,
    SlideNameError,
    SlideNotFoundError,
    SlideTooLargeError,
    StorageFullError,
)
from ..openapi import problems
from ..receive import stream_body
from ..schemas import PREFIX, SlideList, SlideOut, SlideRegister
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
)


@router.put("", status_code=201, response_model=SlideOut, openapi_extra=RAW_BODY, responses=UPLOAD_PROBLEMS)
async def upload_slide(
    request: Request,
    response: Response,
    slides: Slides,
    inspections: Inspections,
    filename: Annotated[
        str,
        Query(description="The slide's file name; a zip is taken as a folder slide", examples=["slide.svs"]),
    ],
) -> SlideOut:
    """Upload a slide as the raw body: `curl -T slide.svs 'http://host/v1/slides?filename=slide.svs'`."""
    with slides.upload(declared_length(request)) as upload:
        upload.name = filename
        await stream_body(request, upload.write)
        async with inspections:
            slide = await run_in_threadpool(slides.commit, upload)
    return created(response, slide)


@router.post(
    "",
    status_code=201,
    response_model=SlideOut,
    responses=problems(RootNotAllowedError, RequestInvalidError, SlideUnreadableError, SlideLimitError),
)
async def register_slide(
    body: SlideRegister, response: Response, slides: Slides, inspections: Inspections
) -> SlideOut:
    """Register a slide that already lies on the service's disks, without copying it."""
    async with inspections:
        slide = await run_in_threadpool(slides.register, body.uri)
    return created(response, slide)


@router.get("", response_model=SlideList, responses=problems(RequestInvalidError))
def list_slides(
    slides: Slides,
    sha256: Annotated[
        str | None,
        Query(
            pattern="^[0-9a-f]{64}$", description="Only the upload of these bytes: ask before sending them."
        ),
    ] = None,
) -> SlideList:
    """List every slide, newest first, or the one that was uploaded with this sha256."""
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
    """Remove a slide; results of its finished jobs stay."""
    slides.get(slide_id)
    busy = queue.unfinished(slide_id)
    if busy:
        raise SlideInUseError(f"Job {busy[0]} still reads this slide; cancel it or wait for it.")
    slides.delete(slide_id)


def created(response: Response, slide: StoredSlide) -> SlideOut:
    """Set `Location` and return the JSON form of a slide that was stored."""
    response.headers["Location"] = f"{PREFIX}/slides/{slide.id}"
    return SlideOut.of(slide)
