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

from .fastest import rounds_ms, times_faster
from .less_work import Case, network_option, pass_of, rounds_option


@click.command()
@rounds_option
@network_option
def main(rounds: int, cases: list[Case]) -> None:
    """Print core time by network and threads, and how much faster oneDNN is, with its range."""
    tune_malloc()
    table = [["network", "threads", "core ms a slice: torch", "oneDNN", "times faster", "range", "same bits"]]
    for case in cases:
        table += [[case.name, str(threads), *compared(case, threads, rounds)] for threads in (1, 2)]
    click.echo(f"{markdown(table)}\n\n{machine()}")


@torch.inference_mode()
def compared(case: Case, threads: int, rounds: int) -> list[str]:
    """Return the cells of a row; both take turns, and what other programs take does not count."""
    torch.set_num_threads(threads)
    ways = {name: pass_of(case, "fp32", onednn=name == "oneDNN") for name in ("torch", "oneDNN")}
    times = rounds_ms(ways, rounds, time.process_time)
    # Slices are drawn at random: with the same seed they are the same.
    same = torch.equal(*(run() for run in ways.values()))
    return [
        *(f"{median(times[name]) / case.slices:.1f}" for name in ways),
        *times_faster(times["torch"], times["oneDNN"]),
        "yes" if same else "no",
    ]


if __name__ == "__main__":
    main()
