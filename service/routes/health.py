"""Whether the process lives, whether a job would run, and what is going on."""

import os
from importlib.metadata import version

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from redis.exceptions import RedisError

from workers.queue.client import JobClient

from ..dependencies import Queue, Settings
from ..schemas import Health, Readiness
from ..settings import ServiceSettings

router = APIRouter(tags=["health"])

OK = "ok"


@router.get("/", include_in_schema=False)
def index() -> RedirectResponse:
    """The API's own documentation."""
    return RedirectResponse("/docs")


@router.get("/healthz", response_model=Health)
async def healthz() -> Health:
    """200 while the process answers; touches nothing else."""
    return Health(status="ok", version=version("darefine"))


@router.get(
    "/readyz", response_model=Readiness, responses={503: {"model": Readiness, "description": "Not ready"}}
)
def readyz(response: Response, queue: Queue, settings: Settings) -> Readiness:
    """200 once a job sent now would run: the queue answers, the disk takes files, a worker lives."""
    checks = {"queue": check_queue(queue), "storage": check_storage(settings)}
    checks["worker"] = check_worker(queue) if checks["queue"] == OK else "unknown without the queue"
    ready = all(outcome == OK for outcome in checks.values())
    response.status_code = 200 if ready else 503
    return Readiness(ready=ready, checks=checks)


@router.get("/metrics", response_class=Response)
def metrics(queue: Queue) -> Response:
    """Prometheus text: jobs by state, live workers."""
    registry = CollectorRegistry()
    jobs = Gauge("darefine_jobs", "Jobs by state.", ["state"], registry=registry)
    for state, count in queue.counts().items():
        jobs.labels(state=state.value).set(count)
    workers = Gauge("darefine_workers", "Workers whose model is loaded.", registry=registry)
    workers.set(len(queue.live_workers()))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def check_queue(queue: JobClient) -> str:
    """Whether Redis answers."""
    try:
        queue.ping()
    except RedisError:
        return "the queue does not answer"
    return OK


def check_storage(settings: ServiceSettings) -> str:
    """Whether the data folder takes files."""
    return OK if os.access(settings.data_dir, os.W_OK) else f"cannot write to {settings.data_dir}"


def check_worker(queue: JobClient) -> str:
    """Whether a worker with a loaded model lives; else what those that live say."""
    if queue.live_workers():
        return OK
    problems = {worker.problem.detail for worker in queue.workers() if worker.problem}
    return " ".join(sorted(problems)) or "no worker has its model loaded"
