"""Benchmark of small slides: what the service costs a job, and how far a queue keeps the network's pace.

`python -m benchmarks.small_slides` writes `benchmarks/results/small_slides.json` and the table of
`benchmarks/README.md`. It runs `darefine serve` with the demo model on a phantom of one patch: jobs one after
another, then many at once, in turn with the network alone on the same shapes in this process.
"""

import json
import signal
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import click
import torch

from darefine.cli.demo import free_port
from darefine.cli.progress_bar import progress_bar
from darefine.client import Client
from darefine.client.answers import Job
from model.inference.cpu_tuning import tune_malloc
from model.inference.segmenter import Segmenter
from workers.bench.bench import load_average
from workers.bench.measure import machine, time_network, warm_up
from workers.engine.pipeline import plan_job
from workers.jobs import JobFiles, JobParameters
from workers.protocol import RunJob
from wsi.plan import Plan
from wsi.reading.slide import open_slide

from .cluster import Host, wait_until_ready
from .options import out_option
from .slides import phantom_slide
from .tables import DEMO_CARD, caption_of, write_results

TISSUE = 1.0
NETWORK_PASSES = 20
"""How often the network alone labels the slide before each queue, and after it."""


@click.command()
@click.option("--size", "size_px", type=click.IntRange(min=1024), default=2000, show_default=True)
@click.option("--jobs", "job_count", type=click.IntRange(min=2), default=200, show_default=True)
@click.option("--alone", "alone_count", type=click.IntRange(min=2), default=40, show_default=True)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    multiple=True,
    default=(1, 2),
    show_default=True,
    help="Workers of the service, which share the network's threads.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@out_option("small_slides")
def main(
    size_px: int,
    job_count: int,
    alone_count: int,
    workers: tuple[int, ...],
    rounds: int,
    out: Path | None,
) -> None:
    """Run `--alone` jobs one by one, then a queue of `--jobs`, with each number of workers in turn."""
    tune_malloc()
    load = load_average()
    with tempfile.TemporaryDirectory(prefix="darefine-") as name, progress_bar() as show:
        folder = Path(name)
        slide = phantom_slide(folder, size_px, TISSUE, show)
        segmenter = Segmenter.load(DEMO_CARD)
        plan, batch_size = prepared(segmenter, slide, folder)
        found = []
        for number, count in enumerate(workers * rounds):
            show("rounds", number / len(workers * rounds))
            network_s = [seconds_of_network(segmenter, plan, batch_size)]
            measured = run_service(slide, folder / f"round-{number}", count, alone_count, job_count)
            network_s.append(seconds_of_network(segmenter, plan, batch_size))
            found.append({"workers": count, **measured, "network_s": network_s})
    results = {
        "model": {"name": segmenter.card.name},
        "machine": machine(),
        "device": segmenter.device,
        "dtype": segmenter.dtype,
        "threads": torch.get_num_threads(),
        "load_before": load,
        "size_px": size_px,
        "rounds": found,
    }
    write_results("small_slides", results, table_of(found), caption=caption_of(results), folder=out)


def prepared(segmenter: Segmenter, slide: Path, folder: Path) -> tuple[Plan, int]:
    """Return the plan of a job on the slide, and the number of slices in a pass; the network is warm then."""
    run = RunJob("small", 1, slide.name, str(slide), str(folder), segmenter.card.name, JobParameters())
    with open_slide(slide) as source:
        plan, _tissue = plan_job(run, JobFiles(folder), source, segmenter.card, lambda _share: None)
    return plan, warm_up(segmenter, run)


def seconds_of_network(segmenter: Segmenter, plan: Plan, batch_size: int) -> float:
    """Return the median seconds that the network alone takes for the slide."""
    return median(time_network(segmenter, plan, batch_size).seconds for _ in range(NETWORK_PASSES))


def run_service(
    slide: Path, data_dir: Path, workers: int, alone_count: int, job_count: int
) -> dict[str, Any]:
    """Start a service; return the seconds of jobs alone, those of their network, and those of a queue.

    The queue's clock runs from the last submission; jobs that were over by then do not count.
    """
    data_dir.mkdir()
    port = free_port()
    settings = {
        "DAREFINE_DATA_DIR": str(data_dir),
        "DAREFINE_SLIDE_ROOTS": str(slide.parent),
        "DAREFINE_WORKERS": str(workers),
        "DAREFINE_THREADS": str(max(1, torch.get_num_threads() // workers)),
    }
    host = Host(["serve", "--port", str(port)], settings, data_dir / "log")
    host.start()
    try:
        with Client(f"http://127.0.0.1:{port}") as client:
            wait_until_ready(client)
            # Once: looking at a file before it is a slide of the service is a process of its own.
            slide_id = client.register(str(slide)).id
            client.wait(submit(client, slide_id).id)
            alone = [client.wait(submit(client, slide_id).id) for _ in range(alone_count)]
            ids = [submit(client, slide_id).id for _ in range(job_count)]
            submitted = datetime.now(UTC)
            ends = sorted(client.wait(job_id).finished_at or submitted for job_id in ids)
    finally:
        host.end(signal.SIGTERM)
    return {
        "alone_s": [seconds_of(job) for job in alone],
        "alone_network_s": [network_seconds(data_dir / "jobs" / job.id) for job in alone],
        "queue_s": (ends[-1] - submitted).total_seconds(),
        "queue_jobs": sum(end > submitted for end in ends),
    }


def network_seconds(job: Path) -> float:
    """Return the seconds that a job spent in its network, or waiting for it."""
    result = json.loads(JobFiles(job).result.read_text(encoding="ascii"))
    seconds: float = result["stage_seconds"]["network"]
    return seconds


def submit(client: Client, slide_id: str) -> Job:
    """Submit the slide, though the same work is done already."""
    return client.submit(slide_id, force=True)


def seconds_of(job: Job) -> float:
    """Return the seconds from a job's submission to its end."""
    assert job.finished_at is not None, "it is over"
    return (job.finished_at - job.created_at).total_seconds()


def table_of(rounds: list[dict[str, Any]]) -> list[list[str]]:
    """Return heading and cells of the table: a row a round, by number of workers."""
    heading = (
        "workers;job alone s;of it network;service s, median;p95;"
        "queue of jobs;jobs a minute;network alone, a minute;queue / network"
    )
    table = [heading.split(";")]
    for one in sorted(rounds, key=lambda one: one["workers"]):
        service = [job - own for job, own in zip(one["alone_s"], one["alone_network_s"], strict=True)]
        queue, network = one["queue_jobs"] / one["queue_s"], 1 / (sum(one["network_s"]) / 2)
        table.append(
            [
                str(one["workers"]),
                f"{median(one['alone_s']):.2f}",
                f"{median(one['alone_network_s']):.2f}",
                f"{median(service):.3f}",
                f"{quantiles(service, n=20)[-1]:.3f}",
                str(one["queue_jobs"]),
                f"{60 * queue:.0f}",
                f"{60 * network:.0f}",
                f"{queue / network:.0%}",
            ]
        )
    return table


if __name__ == "__main__":
    main()
