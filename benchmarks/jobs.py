"""Whole jobs on phantom slides: seconds by stage, speed, and peak memory beside the slide's size.

`python -m benchmarks.jobs [--work DIR]` writes `benchmarks/results/jobs.json` and prints the table. Each job runs in a
process of its own, so that its peak memory is its own.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table

from model.segmenter import Segmenter
from model.threads import yield_idle_cores
from workers.jobs import JobFiles, JobParameters
from workers.messages import RunJob
from workers.pipeline import run_pipeline
from wsi.phantom import write_phantom

RESULTS = Path(__file__).parent / "results" / "jobs.json"
CARD = Path(__file__).parents[1] / "weights" / "phantom-resnet18-attention.json"
STAGES = ("plan", "read", "network", "store", "pyramid")


@dataclass(frozen=True, slots=True)
class Case:
    """One slide to run: about the same tissue on ever more glass."""

    size_px: int
    tissue_fraction: float


CASES = (Case(20_000, 0.18), Case(60_000, 0.02), Case(100_000, 0.0072))


@click.command()
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the slides here [default: a temporary folder].",
)
def main(work: Path | None) -> None:
    """Run all cases, write the results, show the table."""
    yield_idle_cores()
    with tempfile.TemporaryDirectory() as temporary:
        folder = work or Path(temporary)
        runs = [run_case(case, folder) for case in CASES]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": machine(), "runs": runs}, indent=1) + "\n", encoding="ascii")
    show(runs)


def run_case(case: Case, folder: Path) -> dict[str, Any]:
    """Make the slide if it is not there and run one job on it in a fresh process."""
    slide = folder / f"phantom-{case.size_px}-{case.tissue_fraction}.tif"
    if not slide.exists():
        write_phantom(slide, size_px=case.size_px, seed=11, tissue_fraction=case.tissue_fraction)
    command = [sys.executable, "-m", "benchmarks.jobs", "one", str(slide)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**asdict(case), **measured}


def measure(slide: Path) -> dict[str, Any]:
    """Run one job here; stage seconds, speed and memory in MB before and at the peak."""
    segmenter = Segmenter.load(CARD)
    idle_mb = peak_mb()
    with tempfile.TemporaryDirectory(dir=slide.parent) as directory:
        run = RunJob("bench", 1, slide.name, str(slide), directory, segmenter.card.name, JobParameters())
        run_pipeline(run, segmenter, lambda _: None, lambda: False)
        result = json.loads(JobFiles(Path(directory)).result.read_text())
    kept = ("patches", "megapixels", "megapixels_per_second", "stage_seconds", "device", "dtype")
    return {**{key: result[key] for key in kept}, "idle_mb": idle_mb, "peak_mb": peak_mb()}


def peak_mb() -> int:
    """Largest resident size of this process so far, in MB (10^6 bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def show(runs: list[dict[str, Any]]) -> None:
    """Print the table."""
    table = Table(
        "slide px", "tissue tiles MP", *(f"{stage} s" for stage in STAGES), "MP/s", "idle MB", "peak MB"
    )
    for run in runs:
        seconds = (f"{run['stage_seconds'][stage]:.1f}" for stage in STAGES)
        speed = f"{run['megapixels_per_second']:.1f}"
        table.add_row(
            str(run["size_px"]),
            f"{run['megapixels']:.0f}",
            *seconds,
            speed,
            str(run["idle_mb"]),
            str(run["peak_mb"]),
        )
    Console().print(table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        click.echo(json.dumps(measure(Path(sys.argv[2]))))
    else:
        main()
