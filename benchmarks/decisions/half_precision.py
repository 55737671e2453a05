"""Time operators that wait for memory on bf16 maps: as they are, in fp32 and put back, and pools by maxima.

`python -m benchmarks.decisions.half_precision`; one thread, and the seconds of its core alone.
"""

import time
from collections.abc import Callable
from statistics import median

import click
import torch
import torch.nn.functional as F
from torch import Tensor

from model.evaluation.report import markdown
from model.inference.cpu_tuning import tune_malloc
from workers.bench.measure import machine

from .fastest import rounds_ms

Operator = Callable[[Tensor], Tensor]

OPERATORS: dict[str, Operator] = {
    "mean": lambda maps: maps.mean((2, 3)),
    "ReLU": F.relu,
    "sum": lambda maps: maps + maps,
    "up-sampling to twice the side": lambda maps: F.interpolate(maps, scale_factor=2, mode="bilinear"),
    "3x3 pool of stride 2": lambda maps: F.max_pool2d(maps, 3, 2, 1),
}
"""The last is the encoder's."""


def pool_by_maxima(maps: Tensor) -> Tensor:
    """Return the 3x3 max-pool of stride 2 of maps of even sides, as maxima of every second row and column."""
    return _every_second(_every_second(maps, 2), 3)


def _every_second(maps: Tensor, axis: int) -> Tensor:
    before = (slice(None),) * axis
    even, odd = maps[(*before, slice(0, None, 2))], maps[(*before, slice(1, None, 2))]
    pooled, count = torch.maximum(even, odd), odd.shape[axis] - 1
    rest = pooled.narrow(axis, 1, count)
    torch.maximum(rest, odd.narrow(axis, 0, count), out=rest)
    return pooled


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=9, show_default=True)
@click.option("--side", type=click.IntRange(min=4), default=160, show_default=True, help="Of the maps, px.")
def main(rounds: int, side: int) -> None:
    """Print the median time of each operator."""
    tune_malloc()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    heading = ["operator", "maps", "bf16 ms", "fp32 and back ms", "fp32 maps ms", "by maxima ms"]
    table = [heading]
    with torch.inference_mode():
        for shape in ((4, 32, side, side), (2, 256, side, side), (4, 16, 2 * side, 2 * side)):
            maps = torch.randn(shape).to(memory_format=torch.channels_last)
            for name, operator in OPERATORS.items():
                table.append([name, " x ".join(map(str, shape)), *_compared(operator, name, maps, rounds)])
    click.echo(f"{markdown(table)}\n\n1 thread, {machine()}")


def _compared(operator: Operator, name: str, maps: Tensor, rounds: int) -> list[str]:
    """Return the cells of one operator."""
    half = maps.bfloat16()
    ways = {
        "bf16": lambda: operator(half),
        "back": lambda: operator(half.float()).bfloat16(),
        "fp32": lambda: operator(maps),
    }
    if "pool" in name:
        assert torch.equal(pool_by_maxima(half), operator(half))
        ways["maxima"] = lambda: pool_by_maxima(half)
    cells = [f"{median(taken):.2f}" for taken in rounds_ms(ways, rounds, time.process_time).values()]
    return [*cells, *[""] * (4 - len(cells))]


if __name__ == "__main__":
    main()
