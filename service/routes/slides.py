"""Slides: upload, register in place, look, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from ..dependencies import Inspections, Queue, Slides
from ..errors import SlideInUseError
from ..receive import stream_body
from ..schemas import PREFIX, ProblemOut, SlideList, SlideOut, SlideRegister
from ..slides.store import StoredSlide
from .jobs import CREATE_PROBLEMS, declared_length

router = APIRouter(prefix="/slides", tags=["slides"])

RAW_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "No such slide", "model": ProblemOut}}


@router.put("", status_code=201, response_model=SlideOut, openapi_extra=RAW_BODY, responses=CREATE_PROBLEMS)
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
    responses={
        403: {"description": "Not under an allow-listed folder", "model": ProblemOut},
        422: {"description": "Not a slide that can be read", "model": ProblemOut},
    },
)
async def register_slide(
    body: SlideRegister, response: Response, slides: Slides, inspections: Inspections
) -> SlideOut:
    """Register a slide that already lies on the service's disks, without copying it."""
    async with inspections:
        slide = await run_in_threadpool(slides.register, body.uri)
    return created(response, slide)


@router.get("", response_model=SlideList)
def list_slides(slides: Slides) -> SlideList:
    """Every slide, newest first."""
    return SlideList(slides=[SlideOut.of(slide) for slide in slides.list()])


@router.get("/{slide_id}", response_model=SlideOut, responses=NOT_FOUND)
def get_slide(slide_id: str, slides: Slides) -> SlideOut:
    """One slide and what its file says of itself."""
    return SlideOut.of(slides.get(slide_id))


@router.delete(
    "/{slide_id}",
    status_code=204,
    responses={**NOT_FOUND, 409: {"description": "A job still reads it", "model": ProblemOut}},
)
def delete_slide(slide_id: str, slides: Slides, queue: Queue) -> None:
    """Remove a slide; results of its finished jobs stay."""
    slides.get(slide_id)
    busy = queue.unfinished(slide_id)
    if busy:
        raise SlideInUseError(f"Job {busy[0]} still reads this slide; cancel it or wait for it.")
    slides.delete(slide_id)


def created(response: Response, slide: StoredSlide) -> SlideOut:
    """The answer to a slide that is now here."""
    response.headers["Location"] = f"{PREFIX}/slides/{slide.id}"
    return SlideOut.of(slide)
