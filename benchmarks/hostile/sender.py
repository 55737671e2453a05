"""Send a file as anybody could, run a job if it is taken, and say how that ended."""

import time
from typing import Any

import httpx

from .mutants import Mutant

JOB_S = 180.0
FINAL = {"succeeded", "failed", "cancelled"}

STUCK = "stuck job"
BROKEN = "no answer"


def outcome(http: httpx.Client, mutant: Mutant) -> str:
    """Return what became of a file: the problem it was refused or failed with, "succeeded", STUCK or BROKEN.

    Whatever the service keeps of it is deleted.
    """
    try:
        answer = http.put("/v1/slides", params={"filename": mutant.name}, content=mutant.content)
        if not answer.is_success:
            return problem_of(answer)
        slide_id = answer.json()["id"]
        try:
            return _job(http, slide_id)
        finally:
            http.delete(f"/v1/slides/{slide_id}")
    except httpx.TransportError as error:
        return f"{BROKEN}: {type(error).__name__}"


def problem_of(answer: httpx.Response) -> str:
    """Return status and type of a problem document; of any other answer the status and that it is none."""
    if answer.headers.get("content-type") != "application/problem+json":
        return f"{answer.status_code} without a problem document"
    return f"{answer.status_code} {_name(answer.json())}"


def is_clear(what: str) -> bool:
    """Return whether an outcome is one that a client may meet: a 4xx with a problem, or a job's end."""
    refused = what.startswith("4") and "without" not in what
    return refused or what == "succeeded" or what.startswith("job failed: ")


def _job(http: httpx.Client, slide_id: str) -> str:
    answer = http.post("/v1/jobs", json={"slide_id": slide_id, "mpp": 0.5, "force": True})
    if not answer.is_success:
        return problem_of(answer)
    link = f"/v1/jobs/{answer.json()['id']}"
    deadline = time.monotonic() + JOB_S
    while (job := http.get(link).raise_for_status().json())["state"] not in FINAL:
        if time.monotonic() > deadline:
            return STUCK
        time.sleep(0.1)
    http.delete(link)
    return "succeeded" if job["state"] == "succeeded" else f"job {job['state']}: {_name(job['error'])}"


def _name(problem: dict[str, Any]) -> str:
    """Return the last part of a problem's type, its name."""
    return str(problem["type"]).rpartition(":")[2]
