"""Job routes: judge options, submit, list, get, cancel, delete."""

import shutil
from asyncio import Semaphore
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from redis.exceptions import RedisError

from workers.errors import IdempotencyConflictError, JobFinalError, JobNotFoundError
from workers.jobs import JOB_ID, Job, JobFilter, JobState
from workers.queue.client import JobClient
from wsi.errors import (
    HaloError,
    MppOutOfRangeError,
    MppUnknownError,
    OutputUnavailableError,
    RegionsInvalidError,
    SlideLimitError,
    SlideUnreadableError,
)

from ..accept import LONGEST_WAIT_S, wait_preferred
from ..dependencies import Caller, Inspections, Queue, Settings, Slides, Watches
from ..errors import (
    ArchiveError,
    BodyTooLargeError,
    ModelNotReadyError,
    ModelUnknownError,
    PrecisionError,
    RequestInvalidError,
    RootNotAllowedError,
    SlideNameError,
    SlideNotFoundError,
    SlideTooLargeError,
    StorageFullError,
    UploadIdleError,
)
from ..events import JobWatches
from ..form_schema import form_schema
from ..model_schemas import PreflightOut
from ..openapi import Responses, problems
from ..query_rules import Moment
from ..receive import FIELD_BYTES, read_small, receive_form
from ..region_fields import JOB_BYTES
from ..schemas import PREFIX, JobCreate, JobList, JobOptions, JobOut, JobRefusedOut
from ..settings import ServiceSettings
from ..slides.store import SlideStore, StoredSlide
from ..slides.upload import Upload
from ..submission import model_card, preflight, submit_job

M = TypeVar("M", bound=BaseModel)

router = APIRouter(prefix="/jobs", tags=["jobs"])

POLL_SECONDS = "1"

HOW_TO_SEND = (
    'Send multipart/form-data with a file part `slide`, or application/json with {"slide_id": ...} '
    'or {"uri": "/path/on/the/service"}.'
)

FORM_FIELDS = dict.fromkeys(JobOptions.model_fields, FIELD_BYTES) | {
    "regions": JOB_BYTES,
    "tissue": JOB_BYTES,
}
"""Names of the text fields of a form and their longest values, in bytes."""

MULTIPART_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["slide"],
    "properties": {
        "slide": {
            "type": "string",
            "format": "binary",
            "description": "A slide file, or a zip of a folder slide.",
        },
        **form_schema(JobOptions),
    },
}

CREATE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": MULTIPART_SCHEMA},
            "application/json": {"schema": JobCreate.model_json_schema()},
        },
    }
}

DONE_BEFORE: Responses = {200: {"model": JobOut, "description": "An earlier job that has done the same"}}
Prefer = Annotated[
    str | None,
    Header(
        description=f"`wait=30` (RFC 7240): answer when the job is over, or after so many seconds, at most "
        f"{LONGEST_WAIT_S}",
        examples=["wait=30"],
    ),
]
NO_JOB = problems(JobNotFoundError, RedisError)
UPLOAD_PROBLEMS = problems(
    SlideTooLargeError,
    BodyTooLargeError,
    SlideNotFoundError,
    RootNotAllowedError,
    StorageFullError,
    UploadIdleError,
)
REFUSALS = problems(
    RequestInvalidError,
    SlideNameError,
    ArchiveError,
    SlideUnreadableError,
    SlideLimitError,
    ModelUnknownError,
    PrecisionError,
    MppUnknownError,
    MppOutOfRangeError,
    HaloError,
    RegionsInvalidError,
    OutputUnavailableError,
    IdempotencyConflictError,
    ModelNotReadyError,
    RedisError,
    model=JobRefusedOut,
)


@router.post(
    "",
    status_code=202,
    response_model=JobOut,
    openapi_extra=CREATE_BODY,
    responses={**UPLOAD_PROBLEMS, **REFUSALS, **DONE_BEFORE},
)
async def create_job(
    request: Request,
    response: Response,
    *,
    queue: Queue,
    watches: Watches,
    slides: Slides,
    inspections: Inspections,
    settings: Settings,
    caller: Caller,
    idempotency_key: Annotated[
        str | None, Header(max_length=200, description="Send it again, get the same job")
    ] = None,
    prefer: Prefer = None,
) -> JobOut:
    """Send a slide as `multipart/form-data`, or name one in JSON by id or by path; get a queued job.

    If a job of the same slide, weights and parameters has succeeded, that one is the answer (200), unless
    `force` asks for a new one.
    """
    # Before gigabytes are sent: without a queue or a worker there is nobody to run the job.
    await run_in_threadpool(model_card, queue, None)
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    options: JobOptions
    if content_type == "multipart/form-data":
        options, slide = await posted_slide(request, queue, slides, inspections, settings, caller)
    elif content_type == "application/json":
        body = await read_small(request, JOB_BYTES)
        # Thousands of vertices take a moment.
        options = create = await run_in_threadpool(parse, JobCreate, body)
        slide = await named_slide(create, slides, inspections)
    else:
        raise RequestInvalidError(HOW_TO_SEND)
    submit = partial(submit_job, idempotency_key=idempotency_key, lane=caller.owner)
    submitted = await run_in_threadpool(submit, queue, slide, options)
    response.headers["Location"] = f"{PREFIX}/jobs/{submitted.job.id}"
    if submitted.is_earlier:
        response.status_code = 200
    job = await awaited(submitted.job, prefer, response, watches, queue)
    return await run_in_threadpool(job_out, response, queue, job)


async def posted_slide(
    request: Request,
    queue: Queue,
    slides: Slides,
    inspections: Inspections,
    settings: Settings,
    caller: Caller,
) -> tuple[JobOptions, StoredSlide]:
    """Receive the slide of a form and store it; return the options beside it, and the slide."""
    async with contextmanager_in_threadpool(slides.upload(declared_length(request))) as upload:
        options = await posted_options(request, upload, queue, settings)
        async with inspections:
            slide = await run_in_threadpool(slides.commit, upload, caller.owner)
    # For handle_known: should the job be refused from here on, the slide stays.
    request.state.kept_slide_id = slide.id
    return options, slide


async def posted_options(
    request: Request, upload: Upload, queue: JobClient, settings: ServiceSettings
) -> JobOptions:
    """Stream the slide of a multipart form into `upload` and return the options of its job.

    Those that come before the slide are judged before it flows.

    Raises:
        ServiceError: when the form or an option is refused.
    """
    fields = await receive_form(
        request,
        upload,
        FORM_FIELDS,
        idle_s=settings.upload_idle_s,
        judge=lambda known: preflight(queue, parse(JobOptions, known)),
    )
    return await run_in_threadpool(parse, JobOptions, fields)


async def named_slide(create: JobCreate, slides: SlideStore, inspections: Semaphore) -> StoredSlide:
    """Return the slide that the JSON of a job names by id, or register the one it names by URI.

    Raises:
        SlideNotFoundError: when there is none of this id.
        RootNotAllowedError: when it lies, or leads, outside the folders this service may read.
        SlideUnreadableError: when what the URI names is not a slide that can be read.
        SlideLimitError: when that claims sizes that should not be decoded.
    """
    if create.slide_id is not None:
        return await run_in_threadpool(slides.get_readable, create.slide_id)
    assert create.uri is not None, "JobCreate sees to that"
    async with inspections:
        return await run_in_threadpool(slides.register, create.uri)


@router.post(
    "/preflight",
    response_model=PreflightOut,
    responses=problems(
        RequestInvalidError,
        ModelUnknownError,
        PrecisionError,
        MppOutOfRangeError,
        HaloError,
        OutputUnavailableError,
        ModelNotReadyError,
        RedisError,
    ),
)
def check_options(body: JobOptions, queue: Queue) -> PreflightOut:
    """Judge the options of a job before its slide is sent; say which model they stand for. Queue nothing."""
    return preflight(queue, body)


@router.get("", response_model=JobList, responses=problems(RequestInvalidError, RedisError))
def list_jobs(
    queue: Queue,
    state: JobState | None = None,
    cursor: Annotated[
        str | None, Query(pattern=f"^{JOB_ID.pattern}$", description="The `next_cursor` of the page before")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    slide_id: Annotated[str | None, Query(description="Only jobs on this slide")] = None,
    model: Annotated[str | None, Query(description="Only jobs of the model of this name")] = None,
    created_after: Annotated[Moment | None, Query(description="Only jobs made then or later")] = None,
    created_before: Annotated[Moment | None, Query(description="Only jobs made earlier")] = None,
) -> JobList:
    """List jobs, newest first, a page at a time. A filtered page may be short and have a next one still."""
    wanted = JobFilter(
        slide_id=slide_id,
        model=model,
        after=created_after.timestamp() if created_after else None,
        before=created_before.timestamp() if created_before else None,
    )
    page, next_cursor = queue.list(state, cursor, limit, wanted)
    return JobList(jobs=[JobOut.of(job, position(queue, job)) for job in page], next_cursor=next_cursor)


@router.get("/{job_id}", response_model=JobOut, responses=NO_JOB)
async def get_job(
    job_id: str, response: Response, queue: Queue, watches: Watches, prefer: Prefer = None
) -> JobOut:
    """Get one job; `Retry-After` says when to ask again. `Prefer: wait=30` answers once it is over."""
    if wait_preferred(prefer) is None:  # what all poll: one thread is called for all of it
        return await run_in_threadpool(lambda: job_out(response, queue, queue.get(job_id)))
    job = await awaited(await run_in_threadpool(queue.get, job_id), prefer, response, watches, queue)
    return await run_in_threadpool(job_out, response, queue, job)


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    response_model=JobOut,
    responses=problems(JobNotFoundError, JobFinalError, RedisError),
)
def cancel_job(job_id: str, response: Response, queue: Queue) -> JobOut:
    """Stop a job: at once if it waits, within about a second if it runs."""
    return job_out(response, queue, queue.cancel(job_id))


@router.delete("/{job_id}", status_code=204, responses=NO_JOB)
def delete_job(job_id: str, queue: Queue) -> None:
    """Remove a job and its files; a job that runs is stopped first."""
    job = queue.delete(job_id)
    shutil.rmtree(job.directory, ignore_errors=True)


async def awaited(
    job: Job, prefer: str | None, response: Response, watches: JobWatches, queue: JobClient
) -> Job:
    """Return the job as it is once it is over, or after the time for which the client prefers to wait."""
    seconds = wait_preferred(prefer)
    if seconds is None:
        return job
    response.headers["Preference-Applied"] = f"wait={seconds}"
    if job.state.is_final:
        return job
    await watches.wait(job.id, seconds)
    return await run_in_threadpool(queue.get, job.id)


def job_out(response: Response, queue: JobClient, job: Job) -> JobOut:
    """Return the JSON form of `job`; set `Retry-After` while it is not finished."""
    if not job.state.is_final:
        response.headers["Retry-After"] = POLL_SECONDS
    return JobOut.of(job, position(queue, job))


def position(queue: JobClient, job: Job) -> int | None:
    """Count the jobs before a waiting one."""
    return queue.position(job.id) if job.state is JobState.QUEUED else None


def parse(schema: type[M], value: bytes | dict[str, str]) -> M:
    """Validate a body this route read by itself, with the answer FastAPI gives for one it read.

    Raises:
        RequestValidationError: when the body does not fit `schema`.
    """
    try:
        return schema.model_validate_json(value) if isinstance(value, bytes) else schema.model_validate(value)
    except ValidationError as error:
        raise RequestValidationError(
            [{**item, "loc": ("body", *item["loc"])} for item in error.errors()]
        ) from error


def declared_length(request: Request) -> int | None:
    """Return Content-Length, if the client sent one."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None
