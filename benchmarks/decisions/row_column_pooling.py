"""Compare ways to pool 5x5 on a CPU: a square, a column and a row, maxima of shifted maps.

`python -m benchmarks.decisions.row_column_pooling`, and the same with `--no-keep-memory`
"""

import time
from functools import partial
from itertools import product
from statistics import median

import click
import torch
from torch import Tensor

from model.evaluation.report import markdown
from model.inference.cpu_tuning import tune_malloc
from model.inference.device import PRECISIONS
from model.network.pooling import max_pool_by_column_and_row, max_pool_by_maxima, max_pool_square
from workers.bench.measure import machine

from .fastest import rounds_ms

WINDOW_PX, BATCH = 640, 4
"""A slice with its halo, and how many of them a CPU takes at once."""
STRIDES = (4, 8, 16, 32)
"""Of the four refine blocks."""
CHANNELS = (32, 64, 96, 128, 192, 256)
"""The decoder of the demo network has 32, the paper's 256; the coarsest refine block has twice as many."""
WAYS = {
    "5x5": max_pool_square,
    "column and row": max_pool_by_column_and_row,
    "maxima": max_pool_by_maxima,
}


@click.command()
@click.option("--repeats", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--channels", type=int, multiple=True, default=CHANNELS, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--keep-memory/--no-keep-memory", default=True, help="Keep freed memory, as engines do.")
def main(repeats: int, channels: tuple[int, ...], threads: int, *, keep_memory: bool) -> None:
    """Print the median time of all cores for every map and way, and whether the values are equal."""
    if keep_memory:
        tune_malloc()
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    table = [["precision", "channels", "map", *(f"{name} ms" for name in WAYS), "same values"]]
    with torch.inference_mode():
        for precision, width, stride in product(("fp32", "bf16"), channels, STRIDES):
            side = WINDOW_PX // stride
            maps = torch.randn(BATCH, width, side, side, dtype=PRECISIONS[precision])
            table.append([precision, str(width), f"{side} x {side}", *_compared(maps, repeats)])
    click.echo(f"{markdown(table)}\n\n{threads} threads, {machine()}")


def _compared(maps: Tensor, repeats: int) -> list[str]:
    """Return the cells of one map, pooled in the memory layout of inference."""
    maps = maps.to(memory_format=torch.channels_last)
    times = rounds_ms({name: partial(way, maps) for name, way in WAYS.items()}, repeats, time.process_time)
    equal = all(torch.equal(way(maps), max_pool_square(maps)) for way in WAYS.values())
    return [*(f"{median(taken):.2f}" for taken in times.values()), "yes" if equal else "no"]


if __name__ == "__main__":
    main()
