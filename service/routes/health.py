"""Health routes: liveness, readiness and Prometheus metrics."""

import os
from importlib.metadata import version

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from redis.exceptions import RedisError, ResponseError

from workers.queue.client import JobClient

from ..dependencies import Queue, Requests, Settings
from ..errors import MetricsOffError
from ..metrics.fleet import FleetCollector
from ..openapi import Responses, problems
from ..schemas import Health, Readiness
from ..settings import ServiceSettings
from ..slides.disk import room, too_little

router = APIRouter(tags=["health"])

OK = "ok"

METRICS: Responses = {
    200: {
        "description": "Prometheus text",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": "darefine_workers 1.0\n"}},
    }
}
NOT_READY: Responses = {
    503: {
        "model": Readiness,
        "description": "Not ready",
        "content": {
            "application/json": {
                "example": {
                    "ready": False,
                    "checks": {"queue": "ok", "storage": "ok", "worker": "no worker has its model loaded"},
                }
            }
        },
    }
}


@router.get("/healthz", response_model=Health)
async def healthz() -> Health:
    """Answer 200 while the process lives; touches nothing else."""
    return Health(status="ok", version=version("darefine"))


@router.get("/readyz", response_model=Readiness, responses=NOT_READY)
def readyz(response: Response, queue: Queue, settings: Settings) -> Readiness:
    """Answer 200 once a job sent now would run: the queue answers, the disk takes files, a worker lives."""
    checks = {"queue": check_queue(queue), "storage": check_storage(settings)}
    checks["worker"] = check_worker(queue) if checks["queue"] == OK else "unknown without the queue"
    ready = all(outcome == OK for outcome in checks.values())
    response.status_code = 200 if ready else 503
    set_aside = quarantined(queue) if checks["queue"] == OK else {}
    return Readiness(ready=ready, checks=checks, quarantined=set_aside)


@router.get(
    "/metrics", response_class=Response, responses={**METRICS, **problems(MetricsOffError, RedisError)}
)
def metrics(queue: Queue, settings: Settings, requests: Requests) -> Response:
    """Return Prometheus text: requests of this process; jobs, workers and disk; what workers counted."""
    fleet = CollectorRegistry(auto_describe=False)
    fleet.register(FleetCollector(queue, settings.data_dir))
    text = generate_latest(requests.registry) + generate_latest(fleet)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def check_queue(queue: JobClient) -> str:
    """Return `ok` if Redis answers and takes what is written, else what is wrong."""
    try:
        queue.ping()
    except ResponseError as error:
        return f"the queue takes nothing: {error}"
    except RedisError:
        return "the queue does not answer"
    return OK


def check_storage(settings: ServiceSettings) -> str:
    """Return `ok` if the data folder takes files, else what is wrong."""
    if not os.access(settings.data_dir, os.W_OK):
        return f"cannot write to {settings.data_dir}"
    return OK if room(settings.data_dir) > 0 else f"the disk is full: {too_little(settings.data_dir)}"


def quarantined(queue: JobClient) -> dict[str, str]:
    """Return why workers take no jobs that would be ready if their hosts were fit, by worker."""
    return {
        worker.name: worker.problem.detail
        for worker in queue.workers()
        if worker.state == "quarantined" and worker.problem
    }


def check_worker(queue: JobClient) -> str:
    """Return `ok` if a worker with a loaded model lives, else what is wrong with those that live."""
    if queue.live_workers():
        return OK
    problems = {worker.problem.detail for worker in queue.workers() if worker.problem}
    return " ".join(sorted(problems)) or "no worker has its model loaded"
