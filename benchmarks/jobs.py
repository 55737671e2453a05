"""Benchmark of whole jobs on slides of growing size with about the same tissue.

`python -m benchmarks.jobs` writes `benchmarks/results/jobs.json` and the table of `benchmarks/README.md`.
Each slide is measured in a model process of its own, so that its peak memory is its own.
"""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from darefine.cli.bench import settings_of
from darefine.cli.progress_bar import progress_bar
from workers.bench.bench import run_bench
from workers.bench.options import BenchOptions

from .options import out_option, work_option
from .slides import phantom_slide
from .tables import DEMO_CARD, caption_of, write_results

STAGES = ("plan", "read", "context", "slices", "store", "pyramid", "verify")


@dataclass(frozen=True, slots=True)
class Case:
    """Phantom slide to run."""

    size_px: int
    tissue_fraction: float


CASES = (Case(20_000, 0.18), Case(60_000, 0.02), Case(100_000, 0.0072))


@click.command()
@work_option
@click.option(
    "--model", "card", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=DEMO_CARD
)
@click.option(
    "--size",
    "sizes",
    type=click.Choice([case.size_px for case in CASES]),
    multiple=True,
    help="Only these of the slides.  [default: all]",
)
@click.option("--repeats", type=click.IntRange(min=1), default=1, show_default=True)
@out_option("jobs")
def main(work: Path | None, card: Path, sizes: tuple[int, ...], repeats: int, out: Path | None) -> None:
    """Run all cases, write the results and print the table."""
    with tempfile.TemporaryDirectory() as temporary:
        cases = [case for case in CASES if not sizes or case.size_px in sizes]
        runs = [run_case(case, work or Path(temporary), card, repeats) for case in cases]
    write_results("jobs", {"runs": runs}, table_of(runs), caption=caption_of(*runs), folder=out)


def run_case(case: Case, folder: Path, card: Path, repeats: int) -> dict[str, Any]:
    """Measure a case; make its slide if it is not there."""
    with progress_bar() as show, tempfile.TemporaryDirectory(dir=folder) as directory:
        slide = phantom_slide(folder, case.size_px, case.tissue_fraction, show)
        measured = run_bench(
            BenchOptions(slide, repeats=repeats),
            settings_of(card, {}),
            Path(directory),
            report=lambda now: show(f"measure {case.size_px}", now.fraction),
        )
    return {**asdict(case), **measured}


def table_of(runs: list[dict[str, Any]]) -> list[list[str]]:
    """Return heading and cells of the table."""
    table = [["slide px", "tissue tiles MP", *(f"{stage} s" for stage in STAGES), "job s", "MP/s"]]
    table[0] += ["of network alone", "MP/s without network", "idle MB", "peak MB"]
    for run in runs:
        job, memory = run["job"], run["memory_mb"]
        table.append(
            [
                f"{run['size_px']:,}".replace(",", " "),
                f"{job['megapixels']:.0f}",
                *(f"{job['stage_seconds'][stage]:.1f}" for stage in STAGES),
                f"{job['seconds']:.1f}",
                f"{job['megapixels_per_second']:.1f}",
                f"{100 * run['job_to_network']:.0f} %",
                f"{run['stand_in']['megapixels_per_second']:.0f}",
                str(memory["idle"]),
                str(memory["peak"]),
            ]
        )
    return table


if __name__ == "__main__":
    main()
