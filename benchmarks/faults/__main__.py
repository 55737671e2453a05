"""Break a running service at random moments, and count what was lost.

`python -m benchmarks.faults` (`make faults`) runs API, queue and two workers as two hosts would, with a tiny
network; keeps jobs coming; breaks something every second or two; and writes
`benchmarks/results/faults.json` and the table of `benchmarks/README.md`. It fails if a job was lost, doubled
or failed, a byte differs from an undisturbed run, or a process or file is left over. On Linux; the disk is
filled only where a small one may be mounted, as root.
"""

import contextlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from darefine.cli.bench import PHANTOM_SEED
from darefine.cli.progress_bar import progress_bar
from workers.bench.measure import machine
from wsi.phantom import write_phantom

from ..cards import write_tiny_card
from ..cluster import Cluster
from ..options import out_option
from ..tables import write_results
from .checks import file_names, leftovers, wrong_jobs
from .injections import LEASE_S, Fault, faults_of
from .laboratory import Laboratory, file_hashes
from .takeover import takeover_seconds

SIZES_PX = (4096, 8192)
"""Slides of one patch and of four."""

MEAN_PAUSE_S = 1.5
"""Mean of the pauses between faults, drawn from an exponential distribution."""

DISK_MB = 4096

SETTINGS = {
    "DAREFINE_LEASE_S": str(LEASE_S),
    # Faults that come this often look like a slide that ends every engine, which would fail for good.
    "DAREFINE_MAX_CRASHES": "1000",
    "DAREFINE_MAX_LOSSES": "1000",
}


@click.command()
@click.option("--faults", "fault_count", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--jobs", "job_count", type=click.IntRange(min=1), default=500, show_default=True)
@click.option("--takeovers", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Of moments, kinds and victims.")
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="Keep the hosts' log here.")
@out_option("faults")
def main(
    fault_count: int, job_count: int, takeovers: int, seed: int, log: Path | None, out: Path | None
) -> None:
    """Run, write the results and print the table."""
    # As Ctrl-C: the service is stopped on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="darefine-") as name, small_disk(Path(name, "disk")) as disk:
        folder = Path(name)
        slides = [
            write_phantom(folder / "slides" / f"{size}.tif", size_px=size, seed=PHANTOM_SEED).slide
            for size in SIZES_PX
        ]
        card = write_tiny_card(made(folder / "card"))
        data = disk or made(folder / "disk")
        cluster = Cluster(data, card, slides[0].parent, log or folder / "log", SETTINGS)
        try:
            found = run(cluster, slides, disk, fault_count, job_count, takeovers, seed)
        finally:
            cluster.stop()
            orphans = cluster.orphans()
    found["orphan processes"] = orphans
    counts = {what: len(those) if isinstance(those, list) else those for what, those in found.items()}
    here = machine()
    table = [["what", "count"], *([what, f"{count}"] for what, count in counts.items())]
    caption = f"{here['processor']}, {here['cores']} cores; lease {LEASE_S:g} s, two hosts, seed {seed}."
    write_results("faults", {"found": found, "machine": here}, table, caption=caption, folder=out)
    if any(isinstance(those, list) and those for those in found.values()):
        sys.exit(1)


def run(
    cluster: Cluster,
    slides: list[Path],
    disk: Path | None,
    fault_count: int,
    job_count: int,
    takeovers: int,
    seed: int,
) -> dict[str, object]:
    """Break the service, let it finish, and return what is wrong by name, with counts of what was done."""
    cluster.start()
    jobs = [cluster.client.submit(uri=str(slide), force=True) for slide in slides]
    undisturbed = [cluster.client.wait(job.id) for job in jobs]
    hashes = {
        slide: file_hashes(cluster.client.result(job.id))
        for slide, job in zip(slides, undisturbed, strict=True)
    }
    names = file_names(cluster.jobs_dir / undisturbed[0].id)
    laboratory = Laboratory(cluster.client, slides, job_count, seed)
    laboratory.start()
    done, seconds = inject(cluster, laboratory, faults_of(disk), fault_count, seed)
    laboratory.more = False
    cluster.start()
    laboratory.finish()
    ids = {job.id for job in undisturbed} | set(laboratory.slide_of)
    wrong = wrong_jobs(cluster.client, laboratory, ids, hashes)
    left = leftovers(cluster.data_dir, names)
    times = takeover_seconds(cluster, slides[-1], takeovers)
    return {
        "faults": done.total(),
        **{f"faults: {name}": count for name, count in sorted(done.items())},
        "jobs": len(laboratory.slide_of),
        "minutes": round(seconds / 60, 1),
        "highest attempt of a job": max(job.attempt for job in laboratory.over.values()),
        "submissions refused for now": laboratory.refused,
        f"seconds from kill -9 of a worker to the next attempt, longest of {takeovers}": max(times),
        **wrong,
        "leftover files": left,
    }


def inject(
    cluster: Cluster, laboratory: Laboratory, faults: tuple[Fault, ...], fault_count: int, seed: int
) -> tuple[Counter[str], float]:
    """Inject faults until there were enough, and enough jobs; return how many of each kind, and the time."""
    rng = random.Random(seed)
    done: Counter[str] = Counter()
    weights = [fault.weight for fault in faults]
    begun = time.monotonic()
    with progress_bar() as show:
        while done.total() < fault_count or laboratory.behind:
            time.sleep(rng.expovariate(1 / MEAN_PAUSE_S))
            fault = rng.choices(faults, weights)[0]
            if fault.inject(cluster, rng):
                done[fault.name] += 1
            show(f"{len(laboratory.over)} jobs over", min(1.0, done.total() / fault_count))
    return done, time.monotonic() - begun


def made(folder: Path) -> Path:
    """Make a folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a disk in memory; yield None where that is not allowed."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(made(folder))]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        click.echo("No right to mount a small disk: it will not be filled.", err=True)
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


if __name__ == "__main__":
    main()
