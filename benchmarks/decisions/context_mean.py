"""Compare ways to shrink a patch to its context on this machine's CPU.

`python -m benchmarks.decisions.context_mean`
"""

from functools import partial

import click
import torch
import torch.nn.functional as F
from torch import Tensor

from model.evaluation.report import markdown
from model.inference.preprocess import box_resized, context_from_region
from workers.bench.measure import machine

from .fastest import fastest_ms

CASES = {"the paper's ratio, 5": (2688, 544), "the demo card's ratio, 20": (2688, 128)}
"""Sides of the patch region and of the context, network px."""


def area_pooling(region: Tensor, side_px: int) -> Tensor:
    """Return (1, 3, side_px, side_px) float32 by torch's own area interpolation."""
    return F.interpolate(region.permute(2, 0, 1).unsqueeze(0).float(), (side_px, side_px), mode="area")


WAYS = {
    "box filter": context_from_region,
    "matrix products": box_resized,
    "torch's area pooling": area_pooling,
}


@click.command()
@click.option("--repeats", type=click.IntRange(min=1), default=20, show_default=True)
def main(repeats: int) -> None:
    """Print the shortest time of each way, and how far the box filter is from the matrix products."""
    table = [
        [
            "context",
            "box filter ms",
            "matrix products ms",
            "torch's area pooling ms",
            "box and products apart by at most",
        ]
    ]
    for case, (region_px, side_px) in CASES.items():
        region = torch.randint(
            0, 256, (region_px, region_px, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
        )
        times = fastest_ms(
            {name: partial(way, region, side_px) for name, way in WAYS.items()},
            repeats,
        )
        gap = (context_from_region(region, side_px) - box_resized(region, side_px)).abs().max()
        table.append([case, *(f"{ms:.1f}" for ms in times.values()), f"{gap:.2f} grey values"])
    click.echo(f"{markdown(table)}\n\n{torch.get_num_threads()} threads, {machine()}")


if __name__ == "__main__":
    main()
