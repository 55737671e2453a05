"""Result routes: the TIFFs and the JSON of a succeeded job."""

import json
import mimetypes
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse
from redis.exceptions import RedisError
from starlette.responses import MalformedRangeHeader, RangeNotSatisfiable
from starlette.staticfiles import NotModifiedResponse

from workers.errors import JobNotFoundError
from workers.jobs import Job, JobState, result_stem
from workers.queue.client import JobClient

from ..dependencies import Queue
from ..errors import RangeNotSatisfiableError, ResultFileNotFoundError, ResultNotReadyError
from ..openapi import Responses, problems
from ..result_schema import ResultOut
from ..tiles.caching import CONDITIONS

PROBLEMS = problems(JobNotFoundError, ResultNotReadyError, RedisError)
TIFF: Responses = {
    200: {
        "description": "The TIFF. `Range` (with `If-Range`) is honoured; a malformed one is ignored",
        "content": {"image/tiff": {}},
    },
    206: {"description": "Part of the TIFF", "content": {"image/tiff": {}}},
    304: {"description": "`If-None-Match` names the TIFF's `ETag`: the copy at hand is good"},
    **problems(RangeNotSatisfiableError),
    **PROBLEMS,
}
FILE_TYPES: dict[str, Any] = {
    kind: {}
    for kind in (
        "image/tiff",
        "image/png",
        "application/dicom",
        "application/zip",
        "application/geo+json",
        "application/gzip",
        "application/json",
        "application/octet-stream",
    )
}
FILE: Responses = {
    **TIFF,
    200: {
        "description": "The file. `Range` (with `If-Range`) is honoured; a malformed one is ignored",
        "content": FILE_TYPES,
    },
    206: {"description": "Part of the file", "content": FILE_TYPES},
    **problems(JobNotFoundError, ResultFileNotFoundError),
}
RESULT: Responses = {200: {"model": ResultOut}, **PROBLEMS}

router = APIRouter(prefix="/jobs/{job_id}", tags=["results"])


@router.get("/overlay.tif", response_class=FileResponse, responses=TIFF)
@router.head("/overlay.tif", include_in_schema=False)
def get_overlay(job_id: str, request: Request, queue: Queue) -> Response:
    """Download the label map in the classes' colours, a pyramidal palette TIFF: for people and viewers."""
    job = finished(queue, job_id)
    return tiff(request, job, job.files.overlay)


@router.get("/labels.tif", response_class=FileResponse, responses=TIFF)
@router.head("/labels.tif", include_in_schema=False)
def get_labels(job_id: str, request: Request, queue: Queue) -> Response:
    """Download the label map as 8-bit grey, value = class, 0 = not analysed: for programs."""
    job = finished(queue, job_id)
    return tiff(request, job, job.files.labels)


@router.get("/files/{name}", response_class=FileResponse, responses=FILE)
def get_file(job_id: str, name: str, request: Request, queue: Queue) -> Response:
    """Download any file that the result names, byte for byte: what its sha256 there is of."""
    job = finished(queue, job_id)
    if name not in json.loads(job.files.result.read_bytes())["files"]:
        raise ResultFileNotFoundError(f"The result of this job has no file {name!r}.")
    return download(request, job, job.files.directory / name, media_type(name))


@router.get("/result", response_model=None, responses=RESULT)
def get_result(job_id: str, queue: Queue) -> Response:
    """Get files with their sha256, class areas, warnings, mpp and its source, model, parameters, times."""
    document = finished(queue, job_id).files.result.read_bytes()
    return Response(document, media_type="application/json")


def finished(queue: JobClient, job_id: str) -> Job:
    """Return a job that has succeeded.

    Raises:
        JobNotFoundError: when there is no such job.
        ResultNotReadyError: when it has not succeeded.
    """
    job = queue.get(job_id)
    if job.state is not JobState.SUCCEEDED:
        why = f": {job.error.detail}" if job.error else "; poll the job until it has succeeded."
        raise ResultNotReadyError(f"The job is {job.state}{why}")
    return job


class TiffResponse(FileResponse):
    """File response that treats unsuitable ranges as RFC 9110 says, refused as problem documents."""

    @classmethod
    def _parse_range_header(cls, http_range: str, file_size: int) -> list[tuple[int, int]]:
        """Return the byte ranges asked for; none (the whole file is sent) if malformed (section 14.2).

        Raises:
            RangeNotSatisfiableError: when they lie outside the file.
        """
        # Starlette has no public place for this. Were the method renamed, it would answer in plain text.
        try:
            return super()._parse_range_header(http_range, file_size)
        except MalformedRangeHeader:
            return []
        except RangeNotSatisfiable as error:
            raise RangeNotSatisfiableError(error.max_size) from error


def tiff(request: Request, job: Job, path: Path) -> Response:
    """Return a TIFF as a download, or 304 when the client has it."""
    return download(request, job, path, "image/tiff")


def media_type(name: str) -> str:
    """Return the media type of a result file by its name."""
    if name.endswith(".dcm"):  # not known everywhere
        return "application/dicom"
    known, packed = mimetypes.guess_type(name)
    return "application/gzip" if packed == "gzip" else known or "application/octet-stream"


def download(request: Request, job: Job, path: Path, kind: str) -> Response:
    """Return the file as a download called `<slide>.<model>.overlay.tif`, or 304 when the client has it."""
    name = f"{result_stem(job.request.slide_name, job.request.model)}.{path.name}"
    response = TiffResponse(path, media_type=kind, filename=name, stat_result=path.stat())
    if CONDITIONS.is_not_modified(response.headers, request.headers):
        return NotModifiedResponse(response.headers)
    return response
