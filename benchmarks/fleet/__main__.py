"""Run three hosts of which one is wrong, and measure what the queue costs.

`python -m benchmarks.fleet` (`make fleet`) runs an API and three workers as three hosts would: host names and
mounts of their own, a queue over TCP with a password, a tiny network. For each kind of wrong host it sends
jobs and says how many succeeded, how many the wrong host took, and when it was out. Then it counts
commands, of idle workers and a job, times the reconciler at 100 000 queued jobs, and sends a batch of 10 000
slides and single ones behind it. It fails if a job failed. Linux, as root.
"""

import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from darefine.cli.bench import PHANTOM_SEED
from darefine.cli.demo import free_port
from darefine.cli.progress_bar import progress_bar
from darefine.client import Client
from model.card import ModelCard
from workers.bench.measure import machine
from workers.jobs import Job, JobRequest, JobState
from workers.queue.client import JobClient
from workers.queue.registry import WorkerInfo, WorkerState
from wsi.phantom import write_phantom

from ..cards import write_tiny_card
from ..options import out_option
from ..tables import write_results
from .crowded import crowded
from .hosts import FleetHost, Wrong, kinds_of
from .queue import counted_commands, tcp_queue
from .thousands import thousands

SLIDE_PX = 1024
START_S = 180.0
OVER_S = 900.0
OUT = (WorkerState.QUARANTINED, WorkerState.FAILED)
WRONG_HOST = "host-3"


@dataclass(frozen=True)
class Fleet:
    """A running service: its queue, the request of a job, and the host that is made wrong."""

    jobs: JobClient
    request: JobRequest
    third: FleetHost
    url: str
    client: Client
    slide: Path

    def worker_of(self, host: str) -> WorkerInfo | None:
        """Return the worker of a host, if it is announced."""
        return next((one for one in self.jobs.workers() if one.host == host), None)

    def run(self, count: int) -> tuple[list[Job], float | None]:
        """Run jobs to their end; return them, and after how many seconds the third host was out."""
        begun, out_s = time.monotonic(), None
        ids = [self.jobs.submit(self.request).id for _ in range(count)]
        while True:
            third = self.worker_of(WRONG_HOST)
            if out_s is None and third is not None and third.state in OUT:
                out_s = round(time.monotonic() - begun, 1)
            found = [self.jobs.get(job_id) for job_id in ids]
            if all(job.state.is_final for job in found) or time.monotonic() - begun > OVER_S:
                return found, out_s
            time.sleep(0.2)


@click.command()
@click.option("--jobs", "count", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--queued", type=click.IntRange(min=1000), default=100_000, show_default=True)
@click.option("--slides", type=click.IntRange(min=10), default=10_000, show_default=True, help="Of a batch.")
@click.option("--idle", "idle_s", type=click.IntRange(min=1), default=30, show_default=True, help="Seconds.")
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="Keep the hosts' log here.")
@out_option("fleet")
def main(count: int, queued: int, slides: int, idle_s: int, log: Path | None, out: Path | None) -> None:
    """Run, write the results and print the table."""
    # As Ctrl-C: the hosts are stopped on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="darefine-")))
        show = closing.enter_context(progress_bar())
        many = crowded(closing.enter_context(tcp_queue(folder)), folder / "crowd" / "jobs", queued, show)
        fleet, kinds = start(folder, log or folder / "log", closing)
        show("idle", 0.0)
        costs = commands(fleet, count, idle_s)
        show("batch", 0.0)
        batch = thousands(fleet.client, fleet.slide, slides)
        found = {}
        for number, wrong in enumerate(kinds):
            show(wrong.name, number / len(kinds))
            found[wrong.name] = suffer(fleet, wrong, count)
    here = machine()
    results = {"wrong hosts": found, "commands": costs, "crowded": many, "batch": batch, "machine": here}
    caption = f"{here['processor']}, {here['cores']} cores; three hosts on one machine, {count} jobs each."
    write_results("fleet", results, table_of(results), caption=caption, folder=out)
    if any(kind["succeeded"] < count for kind in found.values()):
        sys.exit(1)


def start(folder: Path, log: Path, closing: ExitStack) -> tuple[Fleet, tuple[Wrong, ...]]:
    """Start three right hosts; return them once a first job is done, and the kinds of wrong ones."""
    slides, data_dir, weights = folder / "slides", folder / "data", folder / "weights"
    for one in (slides, data_dir / "jobs", weights):
        one.mkdir(parents=True)
    card = write_tiny_card(weights)
    slide = write_phantom(slides / "small.tif", size_px=SLIDE_PX, seed=PHANTOM_SEED).slide
    url, port = closing.enter_context(tcp_queue(folder)), free_port()
    shared = {"REDIS_URL": url, "DAREFINE_DATA_DIR": str(data_dir), "DAREFINE_WEIGHTS_DIR": str(weights)}
    shared["DAREFINE_SLIDE_ROOTS"] = str(slides)
    hosts = [
        FleetHost("host-1", ["serve", "--port", str(port)], shared, log),
        FleetHost("host-2", ["worker"], shared, log),
        FleetHost(WRONG_HOST, ["worker"], shared, log),
    ]
    for host in hosts:
        closing.callback(host.end)
        host.start()
    jobs = JobClient.connect(url, data_dir / "jobs")
    await_workers(jobs, len(hosts))
    client = closing.enter_context(Client(f"http://127.0.0.1:{port}", patience_s=600))
    request = jobs.get(client.wait(client.submit(uri=str(slide)).id).id).request
    kinds = kinds_of(slides, data_dir, folder, torn_weights(card, folder / "torn"))
    return Fleet(jobs, request, hosts[-1], url, client, slide), kinds


def torn_weights(card: Path, folder: Path) -> Path:
    """Return a new weights folder: one model can be loaded, the jobs' own is not as its card says."""
    folder.mkdir()
    model = ModelCard.load(card)
    whole, torn = (folder / name for name in ("a.safetensors", model.weights.file))
    for path in (whole, torn):
        shutil.copy(card.with_name(model.weights.file), path)
    replace(model, name="a", weights=replace(model.weights, file=whole.name)).save(folder / "a.json")
    torn.write_bytes(torn.read_bytes()[:-1] + b"x")
    model.save(folder / card.name)
    return folder


def await_workers(jobs: JobClient, count: int) -> None:
    """Wait until so many workers are ready.

    Raises:
        TimeoutError: when that takes longer than START_S.
    """
    deadline = time.monotonic() + START_S
    while len(jobs.live_workers()) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not ready after {START_S:.0f} s: {jobs.workers()}")
        time.sleep(0.1)


def commands(fleet: Fleet, count: int, idle_s: int) -> dict[str, float]:
    """Count commands: a second and idle worker, and a job, with what its workers send meanwhile."""
    workers = len(fleet.jobs.live_workers())
    time.sleep(5)
    with counted_commands(fleet.url) as idle:
        time.sleep(idle_s)
    with counted_commands(fleet.url) as busy:
        ids = [fleet.jobs.submit(fleet.request).id for _ in range(count)]
        # Looked at rarely: looking is counted, too.
        while any(not fleet.jobs.get(job_id).state.is_final for job_id in ids[-workers:]):
            time.sleep(2)
    return {
        "a second and idle worker, sent": round(idle.sent / idle_s / workers, 2),
        "a second and idle worker, run": round(idle.run / idle_s / workers, 2),
        "a job, sent": round(busy.sent / count, 1),
        "a job, run": round(busy.run / count, 1),
    }


def suffer(fleet: Fleet, wrong: Wrong, count: int) -> dict[str, Any]:
    """Make the third host wrong, and run jobs."""
    fleet.third.end()
    fleet.third.start(wrong)
    deadline = time.monotonic() + START_S
    while (third := fleet.worker_of(WRONG_HOST)) is None or third.state is WorkerState.STARTING:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{wrong.name}: not up after {START_S:.0f} s")
        time.sleep(0.1)
    found, out_s = fleet.run(count)
    third = fleet.worker_of(WRONG_HOST)
    return {
        "succeeded": sum(job.state is JobState.SUCCEEDED for job in found),
        "succeeded there": sum(third is not None and job.worker == third.name for job in found),
        "taken": sum(job.attempt - 1 for job in found),
        "out_s": out_s,
        "state": str(third.state) if third else "gone",
        "reason": third.problem.detail if third and third.problem else "",
    }


def table_of(results: dict[str, Any]) -> list[list[str]]:
    """Return the table of results."""
    rows = [["a host with", "jobs done", "taken by it", "out after"]]
    for name, kind in results["wrong hosts"].items():
        out = "-" if kind["out_s"] is None else f"{kind['out_s']:g} s"
        rows.append([name, f"{kind['succeeded']}", f"{kind['taken']}", out])
    for title, name in (("commands", "commands"), ("many queued", "crowded"), ("a batch", "batch")):
        rows += [[f"{title}: {what}", f"{value:g}", "", ""] for what, value in results[name].items()]
    return rows


if __name__ == "__main__":
    main()
