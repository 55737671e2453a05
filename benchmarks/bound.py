"""Benchmark of whole jobs against their network alone, for the demo network and the paper's ResNet-50.

`python -m benchmarks.bound` writes `benchmarks/results/bound.json` and the table of `benchmarks/README.md`.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from darefine.cli.bench import make_phantom, settings_of
from darefine.cli.progress_bar import progress_bar
from model.inference.device import choose_device, choose_precision
from workers.bench.bench import run_bench
from workers.bench.options import BenchOptions

from .cards import write_card
from .options import out_option, work_option
from .tables import DEMO_CARD, caption_of, write_results

RESNET50 = "resnet50-50-attention"


@dataclass(frozen=True, slots=True)
class Case:
    """Network on a phantom slide with 70 % tissue."""

    network: str | None
    """One of `darefine models`, with random weights; None is the demo model."""
    size_px: int
    repeats: int


CASES = (Case(None, 12_288, repeats=3), Case(RESNET50, 5_120, repeats=1))


@click.command()
@click.option("--device", default="auto", show_default=True)
@click.option(
    "--size",
    "size_px",
    type=click.IntRange(min=2560),
    help="Side of the slides, level-0 px.  [default: 12288, for ResNet-50 5120]",
)
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    help="The median counts.  [default: 3, for ResNet-50, which takes minutes, 1]",
)
@work_option
@out_option("bound")
def main(device: str, size_px: int | None, repeats: int | None, work: Path | None, out: Path | None) -> None:
    """Measure each network in fp32, and in what the device is fast at if that is another precision."""
    best = choose_precision("auto", choose_device(device))
    precisions = dict.fromkeys(("fp32", best))
    with tempfile.TemporaryDirectory() as temporary:
        folder = work or Path(temporary)
        runs = [
            run_case(
                case.network,
                size_px or case.size_px,
                folder,
                repeats or case.repeats,
                {"device": device, "precision": precision},
            )
            for case in CASES
            for precision in precisions
        ]
    write_results("bound", {"runs": runs}, table_of(runs), caption=caption_of(*runs), folder=out)


def run_case(
    network: str | None, size_px: int, folder: Path, repeats: int, chosen: dict[str, Any]
) -> dict[str, Any]:
    """Measure a case; make slide and weights if they are not there."""
    card = DEMO_CARD if network is None else write_card(network, folder)
    with progress_bar() as show, tempfile.TemporaryDirectory(dir=folder) as directory:
        return run_bench(
            BenchOptions(make_phantom(folder, size_px, show), repeats=repeats),
            settings_of(card, chosen),
            Path(directory),
            report=lambda now: show(f"measure {card.stem} {chosen['precision']}", now.fraction),
        )


def table_of(runs: list[dict[str, Any]]) -> list[list[str]]:
    """Return heading and cells of the table."""
    table = [
        [
            "network",
            "precision",
            "slide px",
            "patches",
            "job s",
            "job MP/s",
            "network alone MP/s",
            "job / network alone",
        ]
    ]
    for run in runs:
        job, alone = run["job"], run["network_alone"]
        table.append(
            [
                run["model"]["name"],
                run["dtype"],
                str(run["slide"]["width"]),
                str(job["patches"]),
                f"{job['seconds']:.1f}",
                f"{job['megapixels_per_second']:.2f}",
                f"{alone['megapixels_per_second']:.2f}",
                f"{100 * run['job_to_network']:.1f} %",
            ]
        )
    return table


if __name__ == "__main__":
    main()
