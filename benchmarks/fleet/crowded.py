"""What the queue costs with many jobs in it."""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from redis import Redis

from workers.jobs import JobRequest, new_job
from workers.queue.client import JobClient
from workers.queue.connection import connect
from workers.queue.order_index import index_orders
from workers.queue.reconciler import Reconciler
from workers.queue.recovery import write_jobs
from workers.queue.rq_lists import QUEUES, rq_id

BATCH = 500
TIMES = 25
JOBS_OF_A_SLIDE = 10


def crowded(url: str, jobs_dir: Path, queued: int, show: Callable[[str, float], None]) -> dict[str, float]:
    """Queue jobs without workers; return milliseconds, medians and the longest, and commands a tick."""
    with connect(url) as redis:
        last = fill(redis, jobs_dir, queued, show)
        show("indexed", 0.0)
        index_orders(redis, always=True, most=queued)
        reconciler = Reconciler(redis, lost_after_s=0.0)
        ticks = timed(reconciler.tick)
        redis.config_resetstat()
        reconciler.tick()
        commands = sum(one["calls"] for one in redis.info("commandstats").values())
        client = JobClient(redis, jobs_dir)
        deletions = timed(lambda: client.unfinished(last))
    return {
        "queued": queued,
        "tick, median ms": round(statistics.median(ticks), 2),
        "tick, longest ms": round(max(ticks), 2),
        "commands a tick": commands,
        "jobs of a slide, median ms": round(statistics.median(deletions), 2),
    }


def fill(redis: Redis, jobs_dir: Path, queued: int, show: Callable[[str, float], None]) -> str:
    """Record queued jobs and list them for workers; return the id of the slide of the last."""
    slide_id = ""
    for start in range(0, queued, BATCH):
        slides = [f"{number // JOBS_OF_A_SLIDE:024x}" for number in range(start, start + BATCH)]
        request = JobRequest(slide_id="", slide_name="a.svs", slide_path="", model="tiny")
        jobs = [new_job(replace(request, slide_id=one), jobs_dir) for one in slides]
        write_jobs(redis, jobs)
        redis.rpush(f"rq:queue:{QUEUES['normal']}", *(rq_id(job.id, 1) for job in jobs))
        slide_id = slides[-1]
        show("queued", start / queued)
    return slide_id


def timed(call: Callable[[], object]) -> list[float]:
    """Return the milliseconds of calls."""
    times = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        call()
        times.append((time.perf_counter() - begun) * 1000)
    return times
