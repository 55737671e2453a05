"""How long a job stands still when its worker is killed."""

import time
from pathlib import Path

import psutil

from workers.queue.client import JobClient
from workers.queue.connection import connect

from ..cluster import Cluster


def takeover_seconds(cluster: Cluster, slide: Path, times: int) -> list[float]:
    """Return the seconds from kill -9 of a worker in the middle of its job to the job's next attempt."""
    taken: list[float] = []
    while len(taken) < times:
        # None where the job was over before its worker was killed.
        if (seconds := _takeover(cluster, slide)) is not None:
            taken.append(seconds)
    return taken


def _takeover(cluster: Cluster, slide: Path) -> float | None:
    jobs = JobClient(connect(cluster.queue_url), cluster.jobs_dir)
    job_id = cluster.client.submit(uri=str(slide), force=True).id
    while (job := jobs.get(job_id)).worker is None or not (job.progress.patches_done or job.state.is_final):
        time.sleep(0.01)
    # The name is host, process, random part; see `workers.rq_worker.worker.worker_name`.
    psutil.Process(int(job.worker.split("-")[-2])).kill()
    begun = time.monotonic()
    while (now := jobs.get(job_id)).attempt == job.attempt and not now.state.is_final:
        time.sleep(0.01)
    seconds = time.monotonic() - begun
    cluster.client.wait(job_id)
    return None if now.attempt == job.attempt else round(seconds, 2)
