"""Result files of a job that has succeeded."""

import json
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse

from workers.jobs import JobFiles, JobState
from workers.queue import JobQueue

from ..dependencies import Queue
from ..errors import ResultNotReadyError
from ..schemas import ProblemOut

PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"description": "No such job", "model": ProblemOut},
    409: {"description": "The job has no result (yet); the detail says why", "model": ProblemOut},
}
TIFF: dict[int | str, dict[str, Any]] = {
    200: {"description": "The TIFF; `Range` is honoured", "content": {"image/tiff": {}}},
    206: {"description": "Part of the TIFF", "content": {"image/tiff": {}}},
    **PROBLEMS,
}

router = APIRouter(prefix="/jobs/{job_id}", tags=["results"])


@router.get("/overlay.tif", response_class=FileResponse, responses=TIFF)
@router.head("/overlay.tif", include_in_schema=False)
def get_overlay(job_id: str, queue: Queue) -> FileResponse:
    """The label map in the classes' colours, a pyramidal palette TIFF: for people and viewers."""
    return FileResponse(finished(queue, job_id).overlay, media_type="image/tiff", filename="overlay.tif")


@router.get("/labels.tif", response_class=FileResponse, responses=TIFF)
@router.head("/labels.tif", include_in_schema=False)
def get_labels(job_id: str, queue: Queue) -> FileResponse:
    """The label map as 8-bit grey, value = class, 0 = not analysed: for programs."""
    return FileResponse(finished(queue, job_id).labels, media_type="image/tiff", filename="labels.tif")


@router.get("/result", responses=PROBLEMS)
def get_result(job_id: str, queue: Queue) -> dict[str, Any]:
    """Files with their sha256, class areas, mpp and its source, model, parameters, times."""
    text = finished(queue, job_id).result.read_text(encoding="ascii")
    result: dict[str, Any] = json.loads(text)
    return result


def finished(queue: JobQueue, job_id: str) -> JobFiles:
    """The files of a succeeded job. Raises JobNotFoundError, ResultNotReadyError."""
    job = queue.get(job_id)
    if job.state is not JobState.SUCCEEDED:
        why = f": {job.error.detail}" if job.error else "; poll the job until it has succeeded."
        raise ResultNotReadyError(f"The job is {job.state}{why}")
    return job.files
