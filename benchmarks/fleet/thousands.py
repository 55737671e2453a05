"""What a batch of thousands costs, and how long somebody else's single slide waits behind it."""

import os
import statistics
import time
from pathlib import Path

from darefine.client import Client

SINGLE = 5
"""Single slides that are sent while the batch runs."""

RUNNING_S = 600.0


def thousands(client: Client, slide: Path, count: int) -> dict[str, float]:
    """Send `count` links to a slide as one folder, then single slides; return seconds and milliseconds.

    The links are other files to the service, so none is answered with what was done before.
    """
    folder = slide.with_name("thousands")
    folder.mkdir()
    for number in range(count):
        os.link(slide, folder / f"{number:05}.tif")
    begun = time.perf_counter()
    batch = client.batches.create(folder=str(folder), force=True)
    taken_s = time.perf_counter() - begun
    _await_running(client, batch.id)
    waits, jobs = zip(*(_single(client, slide) for _ in range(SINGLE)), strict=True)
    begun = time.perf_counter()
    seen = client.batches.get(batch.id)
    state_ms = (time.perf_counter() - begun) * 1000
    client.batches.cancel(batch.id)
    return {
        "slides": seen.slides.total,
        "taken in s": round(taken_s, 2),
        "its state, ms": round(state_ms, 1),
        "waiting when a single slide comes": seen.slides.waiting,
        "a single slide begins after s, median": round(statistics.median(waits), 2),
        "a single slide begins after s, longest": round(max(waits), 2),
        "a job takes s, median": round(statistics.median(jobs), 2),
    }


def _await_running(client: Client, batch_id: str) -> None:
    """Wait until some of a batch are done.

    Raises:
        TimeoutError: when that takes longer than RUNNING_S.
    """
    deadline = time.monotonic() + RUNNING_S
    while client.batches.get(batch_id).slides.over < 5:
        if time.monotonic() > deadline:
            raise TimeoutError(f"batch {batch_id} does not run")
        time.sleep(0.2)


def _single(client: Client, slide: Path) -> tuple[float, float]:
    """Send one slide; return for how many seconds it was queued, and how many it then took."""
    job = client.wait(client.submit(uri=str(slide), force=True).id)
    assert job.started_at is not None
    assert job.finished_at is not None
    waited, took = job.started_at - job.created_at, job.finished_at - job.started_at
    return waited.total_seconds(), took.total_seconds()
