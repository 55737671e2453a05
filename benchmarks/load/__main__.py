"""Measure job queries, event streams and uploads together, while a worker computes and the store is full.

`python -m benchmarks.load` (`make load`) starts a service, puts 100 000 finished jobs into its store, and
then has 200 clients poll a running job once a second, 20 listen to its events and one upload without a pause,
while another measures. Writes `benchmarks/results/load.json` and the table of `benchmarks/README.md`. The
clients run on the same cores.
"""

import hashlib
import os
import tempfile
import time
from pathlib import Path

import click
import httpx

from darefine.cli.demo import MODELS, running_service
from darefine.cli.progress_bar import progress_bar
from workers.bench.measure import machine

from ..options import out_option
from ..slides import phantom_slide
from ..tables import write_results
from ..tiles import summary, timed, times_table
from .crowd import (
    CHUNK_BYTES,
    FILE_BYTES,
    LISTENERS,
    POLLERS,
    api_process,
    crowded,
    probes,
    resident_mb,
)
from .store import fill

TISSUE = 0.2


@click.command()
@click.option("--size", "size_px", type=click.IntRange(min=8192), default=61_440, show_default=True)
@click.option("--stored", type=click.IntRange(min=1), default=100_000, show_default=True, help="Jobs.")
@click.option("--upload", "upload_mb", type=click.IntRange(min=1), default=10_000, show_default=True)
@out_option("load")
def main(size_px: int, stored: int, upload_mb: int, out: Path | None) -> None:
    """Measure, write the results and print the table."""
    with (
        tempfile.TemporaryDirectory(prefix="darefine-") as name,
        progress_bar() as show,
        running_service(Path(name, "data"), Path(name, "service.log")) as client,
        httpx.Client(base_url=client.url, timeout=60) as http,
    ):
        data_dir = Path(name, "data")
        slide = client.upload(phantom_slide(Path(name), size_px, TISSUE, show))
        model = next(iter(MODELS))
        pattern = client.cancel(client.submit(slide.id, model=model, force=True).id).id
        finished = fill(data_dir, pattern, stored, show)
        figures = {
            f"one of {stored} jobs": summary(timed(http, [f"/v1/jobs/{finished}"] * 200)),
            f"list of 50 of {stored} jobs": summary(timed(http, ["/v1/jobs?limit=50"] * 100)),
        }
        facts = {"disk_mb_per_s": disk_speed(data_dir)}
        job_id = client.submit(slide.id, model=model, force=True).id
        facts |= under_load(http, client.url, job_id, upload_mb * 1_000_000, figures)
    write(figures, facts, out)


def write(figures: dict[str, dict[str, float]], facts: dict[str, int], out: Path | None) -> None:
    """Write results and table."""
    here = machine()
    caption = (
        f"Under load: {POLLERS} pollers, {LISTENERS} listeners, one uploader, which sent "
        f"{facts['upload_mb_per_s']} MB/s; one process that hashes and writes to the same disk, alone, "
        f"reaches {facts['disk_mb_per_s']}. Memory of the API: {facts['memory_mb_before']} MB before, at "
        f"most {facts['memory_mb_at_most']}, {facts['memory_mb_after']} in the end. {here['processor']}, "
        f"{here['cores']} cores."
    )
    results = {"milliseconds": figures, **facts, "machine": here}
    write_results("load", results, times_table(figures), caption=caption, folder=out)


def disk_speed(folder: Path) -> int:
    """Return how fast one process hashes and writes a file to the folder's disk, MB/s."""
    chunk, digest = os.urandom(CHUNK_BYTES), hashlib.sha256()
    with tempfile.TemporaryFile(dir=folder) as file:
        begun = time.perf_counter()
        for _ in range(FILE_BYTES // CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
        return round(FILE_BYTES / (time.perf_counter() - begun) / 1e6)


def under_load(
    http: httpx.Client, url: str, job_id: str, upload_bytes: int, figures: dict[str, dict[str, float]]
) -> dict[str, int]:
    """Measure while everybody is there; add times to `figures`, return upload speed and memory of the API."""
    api = api_process(url)
    times, memory = [], [resident_mb(api)]
    with crowded(url, job_id, upload_bytes) as (uploading, speed):
        for milliseconds in probes(http, f"/v1/jobs/{job_id}", uploading.is_alive):
            times.append(milliseconds)
            memory.append(resident_mb(api))
    figures["running job, under load"] = summary(times)
    return {
        "upload_mb_per_s": round(speed.recv() / 1e6),
        "memory_mb_before": memory[0],
        "memory_mb_at_most": max(memory),
        "memory_mb_after": memory[-1],
    }


if __name__ == "__main__":
    main()
