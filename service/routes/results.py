"""Result files of a job that has succeeded."""

import json
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse
from starlette.responses import MalformedRangeHeader, RangeNotSatisfiable
from starlette.staticfiles import NotModifiedResponse, StaticFiles

from workers.jobs import JobFiles, JobState
from workers.queue.client import JobClient

from ..dependencies import Queue
from ..errors import RangeNotSatisfiableError, ResultNotReadyError
from ..schemas import ProblemOut

PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"description": "No such job", "model": ProblemOut},
    409: {"description": "The job has no result (yet); the detail says why", "model": ProblemOut},
}
TIFF: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The TIFF. `Range` (with `If-Range`) is honoured, one that cannot be understood is ignored",
        "content": {"image/tiff": {}},
    },
    206: {"description": "Part of the TIFF", "content": {"image/tiff": {}}},
    304: {"description": "`If-None-Match` names the TIFF's `ETag`: the copy at hand is good"},
    416: {
        "description": "The `Range` lies outside the TIFF, whose size is in `Content-Range`",
        "model": ProblemOut,
    },
    **PROBLEMS,
}

CONDITIONS = StaticFiles(check_dir=False)
"""Serves nothing; knows `If-None-Match` and `If-Modified-Since`."""

router = APIRouter(prefix="/jobs/{job_id}", tags=["results"])


@router.get("/overlay.tif", response_class=FileResponse, responses=TIFF)
@router.head("/overlay.tif", include_in_schema=False)
def get_overlay(job_id: str, request: Request, queue: Queue) -> Response:
    """The label map in the classes' colours, a pyramidal palette TIFF: for people and viewers."""
    return tiff(request, finished(queue, job_id).overlay)


@router.get("/labels.tif", response_class=FileResponse, responses=TIFF)
@router.head("/labels.tif", include_in_schema=False)
def get_labels(job_id: str, request: Request, queue: Queue) -> Response:
    """The label map as 8-bit grey, value = class, 0 = not analysed: for programs."""
    return tiff(request, finished(queue, job_id).labels)


@router.get("/result", responses=PROBLEMS)
def get_result(job_id: str, queue: Queue) -> dict[str, Any]:
    """Files with their sha256, class areas, mpp and its source, model, parameters, times."""
    text = finished(queue, job_id).result.read_text(encoding="ascii")
    result: dict[str, Any] = json.loads(text)
    return result


def finished(queue: JobClient, job_id: str) -> JobFiles:
    """The files of a succeeded job. Raises JobNotFoundError, ResultNotReadyError."""
    job = queue.get(job_id)
    if job.state is not JobState.SUCCEEDED:
        why = f": {job.error.detail}" if job.error else "; poll the job until it has succeeded."
        raise ResultNotReadyError(f"The job is {job.state}{why}")
    return job.files


class TiffResponse(FileResponse):
    """A file whose unsuitable ranges are treated as RFC 9110 has it, and refused as problem documents."""

    @classmethod
    def _parse_range_header(cls, http_range: str, file_size: int) -> list[tuple[int, int]]:
        """The byte ranges asked for; none, so that the whole file is sent, if that cannot be understood (section 14.2).

        Raises RangeNotSatisfiableError.
        """
        # Starlette has no public place for this. Were the method renamed, its own plain-text answers would come back.
        try:
            return super()._parse_range_header(http_range, file_size)
        except MalformedRangeHeader:
            return []
        except RangeNotSatisfiable as error:
            raise RangeNotSatisfiableError(error.max_size) from error


def tiff(request: Request, path: Path) -> Response:
    """The file as a download, unless the client says that it has it."""
    response = TiffResponse(path, media_type="image/tiff", filename=path.name, stat_result=path.stat())
    if CONDITIONS.is_not_modified(response.headers, request.headers):
        return NotModifiedResponse(response.headers)
    return response
