"""Compare a 5x5 max-pool with a column and a row, as chained residual pooling needs them on a CPU.

`python -m benchmarks.decisions.row_column_pooling`
"""

from functools import partial

import click
import torch
import torch.nn.functional as F
from torch import Tensor

from model.evaluation.report import markdown
from workers.bench.measure import machine

from .fastest import fastest_ms

CHANNELS = {"demo network": 32, "ResNet-50": 256}
BATCH, SIDE = 4, 160
"""Of the largest map: stride 4 of windows of 640 px."""


def square(maps: Tensor) -> Tensor:
    """Return the 5x5 max-pool of stride 1."""
    return F.max_pool2d(maps, 5, stride=1, padding=2)


def column_and_row(maps: Tensor) -> Tensor:
    """Return the same, a column of five and then a row of five."""
    return F.max_pool2d(F.max_pool2d(maps, (5, 1), 1, (2, 0)), (1, 5), 1, (0, 2))


@click.command()
@click.option("--repeats", type=click.IntRange(min=1), default=20, show_default=True)
def main(repeats: int) -> None:
    """Print the shortest time of both, and whether their values are equal."""
    table = [["largest map of", "5x5 ms", "column and row ms", "same values"]]
    torch.manual_seed(1)
    with torch.inference_mode():
        for name, channels in CHANNELS.items():
            maps = torch.randn(BATCH, channels, SIDE, SIDE).to(memory_format=torch.channels_last)
            times = fastest_ms(
                {"square": partial(square, maps), "parts": partial(column_and_row, maps)},
                repeats,
            )
            equal = "yes" if torch.equal(square(maps), column_and_row(maps)) else "no"
            table.append([name, *(f"{ms:.1f}" for ms in times.values()), equal])
    click.echo(f"{markdown(table)}\n\n{torch.get_num_threads()} threads, {machine()}")


if __name__ == "__main__":
    main()
