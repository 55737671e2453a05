"""Time passes of networks in fp32 with oneDNN's convolutions, and with those that torch chooses.

`python -m benchmarks.decisions.onednn_convolutions`; about two minutes.
"""

import time
from statistics import median

import click
import torch

from model.evaluation.report import markdown
from model.inference.cpu_tuning import tune_malloc
from workers.bench.measure import machine

from .fastest import rounds_ms
from .less_work import CASES, Case, pass_of


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--network", "only", type=click.Choice([case.name for case in CASES]), help="  [default: all]")
def main(rounds: int, only: str | None) -> None:
    """Print core time by network and threads, and how much faster oneDNN is, with its range."""
    tune_malloc()
    table = [["network", "threads", "core ms a slice: torch", "oneDNN", "times faster", "range", "same bits"]]
    for case in CASES:
        if only in {None, case.name}:
            table += [[case.name, str(threads), *compared(case, threads, rounds)] for threads in (1, 2)]
    click.echo(f"{markdown(table)}\n\n{machine()}")


@torch.inference_mode()
def compared(case: Case, threads: int, rounds: int) -> list[str]:
    """Return the cells of a row; both take turns, and what other programs take does not count."""
    torch.set_num_threads(threads)
    ways = {name: pass_of(case, "fp32", onednn=name == "oneDNN") for name in ("torch", "oneDNN")}
    times = rounds_ms(ways, rounds, time.process_time)
    ratios = [old / new for old, new in zip(times["torch"], times["oneDNN"], strict=True)]
    # Slices are drawn at random: with the same seed they are the same.
    same = torch.equal(*(run() for run in ways.values()))
    return [
        *(f"{median(times[name]) / case.slices:.1f}" for name in ways),
        f"{median(ratios):.2f}",
        f"{min(ratios):.2f} .. {max(ratios):.2f}",
        "yes" if same else "no",
    ]


if __name__ == "__main__":
    main()
