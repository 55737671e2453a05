"""Write what became of the slides of a batch as CSV: areas and warnings, a line a slide."""

import csv
import io
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from workers.batches import BatchSlide
from workers.jobs import Job, JobState
from workers.queue.batches import BatchStore
from workers.queue.client import JobClient

FIRST = ("slide", "path", "state", "mpp", "mpp_source", "tissue_mm2")
LAST = ("warnings", "error", "job_id", "model", "model_sha256")

AT_ONCE = 200
"""Slides whose records are read together."""


def table_of(batches: BatchStore, queue: JobClient, batch_id: str, classes: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines of the CSV; `classes` names the columns of areas, in mm² and as fractions of tissue."""
    measures = [*(f"{name} mm2" for name in classes), *(f"{name} fraction" for name in classes)]
    buffer = io.StringIO()
    table = csv.DictWriter(
        buffer, [*FIRST, *measures, *LAST], restval="", extrasaction="ignore", lineterminator="\n"
    )
    table.writeheader()
    slides = batches.slides(batch_id)
    while True:
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
        some = list(islice(slides, AT_ONCE))
        if not some:
            return
        jobs = {job.id: job for job in queue.get_many([slide.job_id for slide in some if slide.job_id])}
        table.writerows(row_of(slide, jobs.get(slide.job_id or "")) for slide in some)


def row_of(slide: BatchSlide, job: Job | None) -> dict[str, Any]:
    """Return the line of one slide."""
    row = {
        "path": slide.entry.name,
        "slide": slide.entry.name.rpartition("/")[2],
        "job_id": slide.job_id or "",
    }
    if job is None:
        gone = "deleted" if slide.job_id else "waiting"
        return {**row, "state": "failed" if slide.refused else gone, "error": slide.refused or ""}
    row |= {"slide": job.request.slide_name, "state": str(job.state), "model": job.request.model}
    if job.error is not None:
        row["error"] = job.error.detail
    return row | (measures_of(job) if job.state is JobState.SUCCEEDED else {})


def measures_of(job: Job) -> dict[str, Any]:
    """Return what a result says of its slide, by column; nothing if it cannot be read."""
    try:
        result = json.loads(job.files.result.read_bytes())
        classes = result["classes"]
        return {
            "mpp": result["mpp"]["slide"],
            "mpp_source": result["mpp"]["source"] or "",
            "tissue_mm2": round(sum(one["area_mm2"] for one in classes), 6),
            **{f"{one['name']} mm2": one["area_mm2"] for one in classes},
            **{f"{one['name']} fraction": one["fraction"] for one in classes},
            "warnings": "; ".join(one["code"] for one in result.get("warnings", ())),
            "model_sha256": result["model"]["sha256"],
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {"error": "the result cannot be read"}
