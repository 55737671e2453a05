"""Jobs: submit, look, cancel, delete."""

import shutil
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from workers.jobs import Job, JobState
from workers.queue.client import JobClient

from ..dependencies import Inspections, Queue, Settings, Slides
from ..errors import RequestInvalidError
from ..receive import read_small, receive_form
from ..schemas import PREFIX, JobCreate, JobList, JobOptions, JobOut, JobRefusedOut, ProblemOut
from ..submission import model_card, submit_job

M = TypeVar("M", bound=BaseModel)

router = APIRouter(prefix="/jobs", tags=["jobs"])

POLL_SECONDS = "2"

MULTIPART_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["slide"],
    "properties": {
        "slide": {
            "type": "string",
            "format": "binary",
            "description": "A slide file, or a zip of a folder slide.",
        },
        **JobOptions.model_json_schema()["properties"],
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

NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "No such job", "model": ProblemOut}}
CREATE_PROBLEMS: dict[int | str, dict[str, Any]] = {
    413: {"description": "The slide is larger than this service takes", "model": ProblemOut},
    422: {
        "description": "The slide or an option cannot be used; the detail says what to send",
        "model": ProblemOut,
    },
    503: {"description": "No worker or no queue yet; try again", "model": ProblemOut},
    507: {"description": "The disk is full", "model": ProblemOut},
}
JOB_PROBLEMS = {
    status: {**answer, "model": JobRefusedOut} if status in (422, 503) else answer
    for status, answer in CREATE_PROBLEMS.items()
}


@router.post("", status_code=202, response_model=JobOut, openapi_extra=CREATE_BODY, responses=JOB_PROBLEMS)
async def create_job(
    request: Request,
    response: Response,
    queue: Queue,
    slides: Slides,
    settings: Settings,
    inspections: Inspections,
    idempotency_key: Annotated[
        str | None, Header(max_length=200, description="Send it again, get the same job")
    ] = None,
) -> JobOut:
    """Send a slide as `multipart/form-data`, or name one the service has in JSON; get a queued job."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    options: JobOptions
    # Before gigabytes are sent: without a queue or a worker there is nobody to run the job.
    await run_in_threadpool(model_card, queue, None)
    if content_type == "multipart/form-data":
        with slides.upload(declared_length(request)) as upload:
            fields = await receive_form(request, upload, tuple(JobOptions.model_fields))
            options = parse(JobOptions, fields)
            async with inspections:
                slide = await run_in_threadpool(slides.commit, upload)
        # For handle_known: should the job be refused from here on, the slide stays.
        request.state.kept_slide_id = slide.id
    elif content_type == "application/json":
        body = await read_small(request)
        options = create = parse(JobCreate, body)
        slide = await run_in_threadpool(slides.get, create.slide_id)
    else:
        raise RequestInvalidError(
            'Send multipart/form-data with a file part `slide`, or application/json with {"slide_id": ...}.'
        )
    job = await run_in_threadpool(submit_job, queue, settings, slide, options, idempotency_key)
    response.headers["Location"] = f"{PREFIX}/jobs/{job.id}"
    return await run_in_threadpool(job_out, response, queue, job)


@router.get("", response_model=JobList)
def list_jobs(
    queue: Queue,
    state: JobState | None = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> JobList:
    """Jobs, newest first, a page at a time."""
    page, next_cursor = queue.list(state=state, cursor=cursor, limit=limit)
    return JobList(jobs=[JobOut.of(job, position(queue, job)) for job in page], next_cursor=next_cursor)


@router.get("/{job_id}", response_model=JobOut, responses=NOT_FOUND)
def get_job(job_id: str, response: Response, queue: Queue) -> JobOut:
    """One job; `Retry-After` says when to look again."""
    return job_out(response, queue, queue.get(job_id))


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    response_model=JobOut,
    responses={**NOT_FOUND, 409: {"description": "The job is over", "model": ProblemOut}},
)
def cancel_job(job_id: str, response: Response, queue: Queue) -> JobOut:
    """Stop a job: at once if it waits, within about a second if it runs."""
    return job_out(response, queue, queue.cancel(job_id))


@router.delete("/{job_id}", status_code=204, responses=NOT_FOUND)
def delete_job(job_id: str, queue: Queue) -> None:
    """Remove a job and its files; a job that runs is stopped first."""
    job = queue.delete(job_id)
    shutil.rmtree(job.directory, ignore_errors=True)


def job_out(response: Response, queue: JobClient, job: Job) -> JobOut:
    """The wire form of `job`, with a polling hint while it is not over."""
    if not job.state.is_final:
        response.headers["Retry-After"] = POLL_SECONDS
    return JobOut.of(job, position(queue, job))


def position(queue: JobClient, job: Job) -> int | None:
    """Jobs before a waiting one."""
    return queue.position(job.id) if job.state is JobState.QUEUED else None


def parse(schema: type[M], value: bytes | dict[str, str]) -> M:
    """Validate a body this route read by itself; the same answer as for one the framework read."""
    try:
        return schema.model_validate_json(value) if isinstance(value, bytes) else schema.model_validate(value)
    except ValidationError as error:
        raise RequestValidationError(
            [{**item, "loc": ("body", *item["loc"])} for item in error.errors()]
        ) from error


def declared_length(request: Request) -> int | None:
    """Content-Length, if the client sent one."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None
