"""Sum up one attempt at a job for the service's metrics."""

import json
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..jobs import Job
from ..queue.tallies import (
    ENGINE_CRASHES,
    JOB_SECONDS,
    MEGAPIXELS,
    QUEUE_WAIT,
    SPEED,
    STAGE_SECONDS,
    Addition,
)

logger = logging.getLogger(__name__)


def job_additions(job: Job, outcome: str, *, seconds: float, crashes: int) -> Iterator[Addition]:
    """Yield what an attempt adds to the sums.

    `job` is its record at the start, `seconds` the time that this worker spent, `crashes` counts its engine
    processes that did not survive.
    """
    model = job.request.model
    if job.attempt == 1 and job.started_at is not None:
        yield from QUEUE_WAIT.observed(max(0.0, job.started_at - job.created_at), job.request.priority)
    yield from JOB_SECONDS.observed(seconds, model, outcome)
    if crashes:
        yield ENGINE_CRASHES.counted(by=crashes)
    if outcome == "succeeded":
        yield from result_additions(read_result(job.files.result), model)


def result_additions(result: Mapping[str, Any], model: str) -> Iterator[Addition]:
    """Yield what the `result.json` of a job that succeeded adds; members that are not there add nothing."""
    for stage, seconds in dict(result.get("stage_seconds", {})).items():
        yield from STAGE_SECONDS.observed(float(seconds), stage)
    if _is_number(result.get("megapixels")):
        yield MEGAPIXELS.counted(model, by=result["megapixels"])
    if _is_number(result.get("megapixels_per_second")):
        device = str(result.get("device", "")).partition(":")[0]
        yield from SPEED.observed(result["megapixels_per_second"], model, device)


def read_result(path: Path) -> Mapping[str, Any]:
    """Read a `result.json`; nothing if it cannot be read, for a job must not fail by being counted."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        logger.debug("not counted: %s", error)
        return {}
    return found if isinstance(found, dict) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
