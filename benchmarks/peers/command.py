"""Command of the benchmark: writes `results/peers.json` and the table of `benchmarks/README.md`."""

import json
import tempfile
from pathlib import Path
from typing import Any

import click

from benchmarks.options import out_option, work_option
from benchmarks.tables import HERE, write_results
from darefine.cli.progress_bar import progress_bar
from workers.bench.bench import load_average

from .cases import SIZES_PX, Case, Setting, default_threads, run_case
from .report import caption_of_cases, merged, table_of

NAME = "peers"


@click.command()
@click.option(
    "--network",
    "networks",
    type=click.Choice(list(SIZES_PX)),
    multiple=True,
    help="Only these.  [default: all]",
)
@click.option(
    "--tissue",
    type=click.FloatRange(min=0, max=1, min_open=True),
    multiple=True,
    default=(1.0, 0.3),
    show_default=True,
    help="Share of the slide that is tissue.",
)
@click.option(
    "--size",
    "size_px",
    type=click.IntRange(min=1024),
    help="Side of the slides, level-0 px.  [default: 10240, for resnet50 5120]",
)
@click.option(
    "--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="The median counts."
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of torch.  [default: every core]")
@click.option(
    "--tiatoolbox-python",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Interpreter of a virtual environment with tiatoolbox.  [default: tiatoolbox is left out]",
)
@work_option
@out_option("peers")
def main(
    networks: tuple[str, ...],
    tissue: tuple[float, ...],
    size_px: int | None,
    repeats: int,
    threads: int | None,
    tiatoolbox_python: Path | None,
    work: Path | None,
    out: Path | None,
) -> None:
    """Measure cases, put them in place of the same ones of earlier results, print the table of all.

    Stop other work first: whatever else runs is in the figures.
    """
    cases = [
        Case(network, size_px or SIZES_PX[network], fraction)
        for network in networks or SIZES_PX
        for fraction in tissue
    ]
    # Not resolved: the interpreter of a virtual environment is a link, and knows it by where the link lies.
    python = tiatoolbox_python.absolute() if tiatoolbox_python else None
    load = load_average()
    for case in cases:
        with tempfile.TemporaryDirectory() as temporary, progress_bar() as show:
            setting = Setting(work or Path(temporary), threads or default_threads(), repeats, python, load)
            keep(run_case(case, setting, show), out)


def keep(case: dict[str, Any], out: Path | None) -> None:
    """Write the results after each case, so that a stop loses only the one that runs."""
    path = (out or HERE / "results") / f"{NAME}.json"
    old = json.loads(path.read_text(encoding="ascii"))["cases"] if path.exists() else []
    cases = merged(old, [case])
    write_results(NAME, {"cases": cases}, table_of(cases), caption=caption_of_cases(cases), folder=out)
