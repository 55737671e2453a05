"""Measure what the sandbox costs: inspecting a slide, and whole jobs of a loaded engine, with it and without.

`python -m benchmarks.decisions.sandbox`; about two minutes on two cores.
"""

import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from model.evaluation.report import markdown
from workers.bench.measure import machine
from workers.jobs import JobParameters
from workers.local import LocalEngine
from workers.protocol import RunJob
from workers.settings import WorkerSettings
from wsi.phantom import write_phantom

from ..slides import PHANTOM_VERSION

STATES = ("on", "off")

INSPECT = "import sys, wsi.reading.inspect as i; {}; sys.exit(i.main(sys.argv[1:]))"
"""Program that inspects a slide."""

WITHOUT = "i.confine = lambda **_: None"


@click.command()
@click.option("--size", type=click.IntRange(min=2048), default=8192, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
def main(size: int, rounds: int) -> None:
    """Print the fastest of several rounds in turn."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        table = [["", "sandbox", "none", "ratio"]]
        for name, seconds in (
            ("inspecting a slide", inspections(root, rounds)),
            (f"a job of {size} px", jobs(root, size, rounds)),
        ):
            best = [min(seconds[state]) for state in STATES]
            table.append([name, *(f"{1000 * one:.0f} ms" for one in best), f"{best[0] / best[1]:.3f}"])
    click.echo(f"{markdown(table)}\n\n{rounds} rounds in turn, the fastest of each; {machine()}")


def inspections(root: Path, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of processes that inspect a small slide."""
    slide = root / "small.tif"
    write_phantom(slide, size_px=2048, seed=1, version=PHANTOM_VERSION)
    programs = {"on": INSPECT.format("pass"), "off": INSPECT.format(WITHOUT)}
    seconds: dict[str, list[float]] = {state: [] for state in STATES}
    for _ in range(rounds):
        for state in STATES:
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", programs[state], str(slide)], check=True, capture_output=True
            )
            seconds[state].append(time.perf_counter() - started)
    return seconds


def jobs(root: Path, size: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of jobs with the demo model, after one that warms up."""
    seconds: dict[str, list[float]] = {state: [] for state in STATES}
    with ExitStack() as stack:
        engines = {}
        for state in STATES:
            settings = WorkerSettings(data_dir=root / state, sandbox=state)
            settings.slides_dir.mkdir(parents=True)
            settings.jobs_dir.mkdir()
            write_phantom(settings.slides_dir / "a.tif", size_px=size, seed=1, version=PHANTOM_VERSION)
            engines[state] = settings, stack.enter_context(LocalEngine(settings))
        for number in range(rounds + 1):
            for state, (settings, engine) in engines.items():
                directory = settings.jobs_dir / str(number)
                directory.mkdir()
                slide = settings.slides_dir / "a.tif"
                model = engine.loaded().default_model
                run = RunJob(str(number), 1, slide.name, str(slide), str(directory), model, JobParameters())
                started = time.perf_counter()
                engine.run(run)
                if number:
                    seconds[state].append(time.perf_counter() - started)
    return seconds


if __name__ == "__main__":
    main()
