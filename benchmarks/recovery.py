"""Benchmark of `darefine recover`: a queue server is lost, and all jobs are listed again from the disk.

`python -m benchmarks.recovery` writes `benchmarks/results/recovery.json` and the table of
`benchmarks/README.md`. It fails if a job does not come back, or a folder seems to belong to none afterwards.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from darefine.cli.demo import own_environment
from darefine.cli.progress_bar import progress_bar
from workers.bench.measure import machine
from workers.jobs import JobRequest
from workers.queue.client import JobClient
from workers.queue.connection import connect
from workers.queue.lease import JobLease
from workers.supervisor.valkey import EmbeddedValkey

from .options import out_option
from .tables import loads_of, write_results

COUNTS = (1000, 10_000)

RESULT = {
    "job": {"attempt": 1},
    "patches": 7,
    "started_at": "2026-03-02T09:14:05+00:00",
    "finished_at": "2026-03-02T09:15:40+00:00",
    # So that a file has about the bytes of a real one.
    "parameters": {f"parameter {index}": "value" * 4 for index in range(60)},
}


@dataclass(frozen=True, slots=True)
class Recovery:
    """What became of so many finished jobs whose queue was lost."""

    jobs: int
    listed_again: int
    seconds: float
    """From the start of the command to its end."""
    known_afterwards: int
    seconds_afterwards: float
    """Of the same command again, which finds nothing to do."""
    orphans_afterwards: int
    """Folders that belong to no job by then."""


@click.command()
@click.option(
    "--jobs", "counts", type=click.IntRange(min=1), multiple=True, default=COUNTS, show_default=True
)
@out_option("recovery")
def main(counts: tuple[int, ...], out: Path | None) -> None:
    """Lose the queue of so many jobs, recover, write the results and print the table."""
    load = os.getloadavg()[0]
    with progress_bar() as show:
        found = []
        for count in counts:
            with tempfile.TemporaryDirectory(prefix="darefine-") as name:
                found.append(lose_and_recover(Path(name), count, lambda done: show("jobs", done)))
    here = machine()
    caption = f"{here['processor']}, {here['cores']} cores{loads_of([load])}."
    results = {"recoveries": [asdict(one) for one in found], "machine": here, "load_before": load}
    write_results("recovery", results, table_of(found), caption=caption, folder=out)
    if any(one.listed_again != one.jobs or one.orphans_afterwards for one in found):
        sys.exit(1)


def lose_and_recover(folder: Path, count: int, report: Callable[[float], None]) -> Recovery:
    """Finish `count` jobs in a data folder, lose their queue and recover, twice."""
    valkey = EmbeddedValkey(folder / "queue")
    valkey.start()
    try:
        finish_jobs(valkey.url, folder / "jobs", count, report)
        valkey.stop()
        shutil.rmtree(valkey.directory)
        valkey.start()
        told, seconds = recover(folder)
        afterwards, seconds_afterwards = recover(folder, "--remove-orphans")
    finally:
        valkey.stop()
    return Recovery(
        jobs=count,
        listed_again=number_in(told, "finished jobs listed again"),
        seconds=seconds,
        known_afterwards=number_in(afterwards, "were known"),
        seconds_afterwards=seconds_afterwards,
        orphans_afterwards=number_in(afterwards, "folders removed"),
    )


def finish_jobs(url: str, jobs_dir: Path, count: int, report: Callable[[float], None]) -> None:
    """Submit jobs, and end each as a worker does, with a result file."""
    request = JobRequest(slide_id="a" * 24, slide_name="a.svs", slide_path="", model="m")
    with connect(url) as redis:
        client, lease = JobClient(redis, jobs_dir), JobLease(redis, jobs_dir)
        for number in range(count):
            job = lease.start(client.submit(request).id, 1, "worker")
            assert job is not None
            job.files.directory.mkdir()
            job.files.result.write_text(json.dumps(RESULT), encoding="ascii")
            lease.succeed(job.id, 1)
            report((number + 1) / count)


def recover(folder: Path, *options: str) -> tuple[str, float]:
    """Run the command on a data folder; return what it prints, and its seconds."""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "darefine", "recover", *options],
        env={**own_environment(), "DAREFINE_DATA_DIR": str(folder)},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout, round(time.perf_counter() - begun, 2)


def number_in(told: str, what: str) -> int:
    """Return the number that stands before words of the command.

    Raises:
        ValueError: when it does not say them.
    """
    found = re.search(rf"(\d+) {what}", told)
    if found is None:
        raise ValueError(f"the command says nothing of {what!r}: {told}")
    return int(found[1])


def table_of(found: Sequence[Recovery]) -> list[list[str]]:
    """Return heading and cells of the table."""
    rows = [
        [
            f"{one.jobs:,}".replace(",", " "),
            f"{one.listed_again:,}".replace(",", " "),
            f"{one.seconds:.1f}",
            f"{one.orphans_afterwards}",
            f"{one.seconds_afterwards:.1f}",
        ]
        for one in found
    ]
    return [["finished jobs", "listed again", "s", "folders of no job afterwards", "s, nothing lost"], *rows]


if __name__ == "__main__":
    main()
