"""Count what workers and supervisors do, in the queue server: sums outlive the processes that made them.

Workers come and go, and nobody can scrape one in a batch job. Each adds to one Redis hash; the API shows the
sums as Prometheus counters and histograms. A field of the hash names metric, labels and bucket.
"""

import json
import logging
import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from .connection import text
from .records import PREFIX

logger = logging.getLogger(__name__)

TALLIES = f"{PREFIX}tallies"
"""Hash of the sums."""

SUM = "sum"
"""Field of a histogram that holds the sum of what was observed; the others are numbers of buckets."""

_ADD = """
for index = 1, #ARGV, 2 do redis.pcall('HINCRBYFLOAT', KEYS[1], ARGV[index], ARGV[index + 1]) end
"""

SECONDS = (1, 2.5, 5, 10, 30, 60, 150, 300, 600, 1800, 3600, 10_800, 36_000)
"""Upper ends of buckets for what takes from a second to a night."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A counter, or a histogram if it has `buckets` (their upper ends, rising, without infinity)."""

    name: str
    words: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    def counted(self, *labels: str, by: float = 1) -> "Addition":
        """Return what adds to the counter of these label values."""
        return Addition(self._field(labels, ""), by)

    def observed(self, value: float, *labels: str) -> tuple["Addition", "Addition"]:
        """Return what adds a value to the histogram of these label values."""
        bucket = str(bisect_left(self.buckets, value))
        return Addition(self._field(labels, bucket), 1), Addition(self._field(labels, SUM), value)

    def _field(self, labels: tuple[str, ...], part: str) -> str:
        assert len(labels) == len(self.labels), self.name
        return json.dumps([self.name, *labels, part])


@dataclass(frozen=True, slots=True)
class Addition:
    """An amount to add to a field of the hash."""

    field: str
    amount: float


QUEUE_WAIT = Metric(
    "darefine_queue_wait_seconds", "From submission to a job's first start.", ("priority",), SECONDS
)
JOB_SECONDS = Metric(
    "darefine_job_seconds", "Of one attempt at a job, by how it ended.", ("model", "outcome"), SECONDS
)
STAGE_SECONDS = Metric(
    "darefine_stage_seconds",
    "Of a stage, in the last attempt at jobs that succeeded; stages lie within each other and overlap.",
    ("stage",),
    SECONDS,
)
MEGAPIXELS = Metric(
    "darefine_megapixels", "Level-0 megapixels of the tissue of jobs that succeeded.", ("model",)
)
SPEED = Metric(
    "darefine_megapixels_per_second",
    "Speed of jobs that succeeded, in level-0 megapixels a second of their last attempt.",
    ("model", "device"),
    (0.1, 0.3, 1, 3, 10, 20, 40, 80, 160, 320, 640, 1280),
)
MODEL_LOADS = Metric(
    "darefine_model_load_seconds",
    "From the start of an engine process until its default model was loaded.",
    ("model",),
    (1, 2.5, 5, 10, 20, 40, 80, 160, 320),
)
MODEL_LOAD_FAILURES = Metric(
    "darefine_model_load_failures", "Starts of an engine that could not load its model."
)
ENGINE_CRASHES = Metric("darefine_engine_crashes", "Engine processes that ended or hung while a job ran.")
RESTARTS = Metric("darefine_process_restarts", "Processes that a supervisor started again.", ("process",))
REQUEUED = Metric(
    "darefine_jobs_requeued",
    "Jobs queued again: their worker was lost, or the queue had lost them.",
    ("reason",),
)

METRICS = (
    QUEUE_WAIT,
    JOB_SECONDS,
    STAGE_SECONDS,
    MEGAPIXELS,
    SPEED,
    MODEL_LOADS,
    MODEL_LOAD_FAILURES,
    ENGINE_CRASHES,
    RESTARTS,
    REQUEUED,
)
"""All that is counted in the queue server."""

Parts = Mapping[str, float]
"""Sums of one metric and one set of labels, by part: a bucket's number, SUM, or '' of a counter."""


class Tallies:
    """Sums in the queue server."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._add = redis.register_script(_ADD)

    def add(self, additions: Iterable[Addition]) -> None:
        """Add to the sums in one step. A server that does not answer costs them, and nothing else."""
        arguments = [part for one in additions for part in (one.field, repr(float(one.amount)))]
        if not arguments:
            return
        try:
            self._add(keys=[TALLIES], args=arguments)
        except RedisError as error:
            logger.debug("not counted: %s", error)

    def read(self) -> dict[Metric, dict[tuple[str, ...], Parts]]:
        """Return the sums of each of METRICS by the values of its labels.

        What this version does not know, or cannot read, is left out.

        Raises:
            redis.exceptions.RedisError: the queue server does not answer.
        """
        known = {metric.name: metric for metric in METRICS}
        found: dict[Metric, dict[tuple[str, ...], dict[str, float]]] = {metric: {} for metric in METRICS}
        for field, value in self._redis.hgetall(TALLIES).items():
            parsed = _parse(field, value, known)
            if parsed is not None:
                metric, labels, part, amount = parsed
                found[metric].setdefault(labels, defaultdict(float))[part] = amount
        return {metric: dict(by_labels) for metric, by_labels in found.items()}


def _parse(
    field: Any, value: Any, known: Mapping[str, Metric]
) -> tuple[Metric, tuple[str, ...], str, float] | None:
    """Return metric, labels, part and sum of a field; None if it is none of ours."""
    try:
        name, *labels, part = json.loads(field)
        metric, amount = known[name], float(text(value))
    except (ValueError, TypeError, KeyError):
        return None
    parts = {SUM, *map(str, range(len(metric.buckets) + 1))} if metric.buckets else {""}
    readable = part in parts and len(labels) == len(metric.labels) and all(isinstance(x, str) for x in labels)
    return (metric, tuple(labels), part, amount) if readable and math.isfinite(amount) else None
