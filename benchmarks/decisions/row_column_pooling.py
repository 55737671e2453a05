"""Compare a 5x5 max-pool with a column and a row, as chained residual pooling needs them on a CPU.

`python -m benchmarks.decisions.row_column_pooling`, and the same with `--no-keep-memory`
"""

from functools import partial
from itertools import product

import click
import torch
from torch import Tensor

from model.evaluation.report import markdown
from model.inference.cpu_tuning import tune_malloc
from model.inference.device import PRECISIONS
from model.network.blocks import max_pool_by_column_and_row, max_pool_square
from workers.bench.measure import machine

from .fastest import fastest_ms

WINDOW_PX, BATCH = 640, 4
"""A slice with its halo, and how many of them a CPU takes at once."""
STRIDES = (4, 8, 16, 32)
"""Of the four refine blocks."""
CHANNELS = (32, 64, 96, 128, 192, 256)
"""The decoder of the demo network has 32, the paper's 256; the coarsest refine block has twice as many."""


@click.command()
@click.option("--repeats", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--channels", type=int, multiple=True, default=CHANNELS, show_default=True)
@click.option("--keep-memory/--no-keep-memory", default=True, help="Keep freed memory, as engines do.")
def main(repeats: int, channels: tuple[int, ...], *, keep_memory: bool) -> None:
    """Print the shortest time of both for every map, and whether their values are equal."""
    if keep_memory:
        tune_malloc()
    torch.manual_seed(1)
    table = [["precision", "channels", "map", "5x5 ms", "column and row ms", "ratio", "same values"]]
    with torch.inference_mode():
        for precision, width, stride in product(("fp32", "bf16"), channels, STRIDES):
            side = WINDOW_PX // stride
            maps = torch.randn(BATCH, width, side, side, dtype=PRECISIONS[precision])
            table.append([precision, str(width), f"{side} x {side}", *_compared(maps, repeats)])
    click.echo(f"{markdown(table)}\n\n{torch.get_num_threads()} threads, {machine()}")


def _compared(maps: Tensor, repeats: int) -> list[str]:
    """Return the cells of one map, pooled in the memory layout of inference."""
    maps = maps.to(memory_format=torch.channels_last)
    variants = {
        "square": partial(max_pool_square, maps),
        "parts": partial(max_pool_by_column_and_row, maps),
    }
    times = fastest_ms(variants, repeats)
    square, parts = times["square"], times["parts"]
    equal = torch.equal(max_pool_square(maps), max_pool_by_column_and_row(maps))
    return [f"{square:.2f}", f"{parts:.2f}", f"{parts / square:.2f}", "yes" if equal else "no"]


if __name__ == "__main__":
    main()
