"""Measure how soon a job's state is answered under load, with the engine at several niceness values in turn.

`python -m benchmarks.decisions.engine_niceness`; Linux, as root, some four minutes on two cores.
"""

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import httpx
import psutil

from darefine.cli.demo import MODELS, running_service
from darefine.cli.progress_bar import progress_bar
from darefine.client import Client
from model.evaluation.report import markdown
from workers.bench.measure import machine
from workers.engine.server import NICENESS

from ..load.crowd import api_process, crowded, probes
from ..slides import phantom_slide
from ..tiles import summary, times_table

SLIDE_PX = 61_440
TISSUE = 0.2
FOR_EVER = 10**12
"""Bytes to upload: more than there is time for."""


@click.command()
@click.option("--niceness", "levels", type=int, multiple=True, default=(0, NICENESS), show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--seconds", type=click.IntRange(min=1), default=12, show_default=True, help="Of each.")
def main(levels: tuple[int, ...], rounds: int, seconds: int) -> None:
    """Print a table of times."""
    figures = {}
    with (
        TemporaryDirectory(prefix="darefine-") as name,
        progress_bar() as show,
        running_service(Path(name, "data"), Path(name, "service.log")) as client,
    ):
        slide = client.upload(phantom_slide(Path(name), SLIDE_PX, TISSUE, show))
        for number in range(rounds):
            for level in levels:
                times = answered(client, slide.id, level, seconds)
                figures[f"niceness {level}, round {number + 1}"] = summary(times)
    click.echo(f"{markdown(times_table(figures))}\n\n{machine()}")


def answered(client: Client, slide_id: str, niceness: int, seconds: float) -> list[float]:
    """Return the milliseconds in which a running job's state is answered while all others ask and upload."""
    job = client.submit(slide_id, model=next(iter(MODELS)), force=True)
    with httpx.Client(base_url=client.url, timeout=60) as http, crowded(client.url, job.id, FOR_EVER):
        set_niceness(client.url, niceness)
        until = time.monotonic() + seconds
        times = list(probes(http, f"/v1/jobs/{job.id}", lambda: time.monotonic() < until))
    client.cancel(job.id)
    return times


def set_niceness(url: str, niceness: int) -> None:
    """Set the niceness of all threads of a service's engine: of its processes the one with most memory."""
    service = psutil.Process(api_process(url).ppid()).children(recursive=True)
    engine = max(service, key=lambda process: process.memory_info().rss)
    for thread in engine.threads():
        os.setpriority(os.PRIO_PROCESS, thread.id, niceness)


if __name__ == "__main__":
    main()
