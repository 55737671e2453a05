"""Compare ways to average an overview to the pixels of a context, on this machine's CPU.

`python -m benchmarks.decisions.cell_means`
"""

from functools import partial

import click
import numpy as np
from numpy.typing import NDArray

from model.evaluation.report import markdown
from workers.bench.measure import machine
from wsi.reading.patch_pixels import cell_means

from .fastest import fastest_ms

CASES = {"field of the demo card": (672, 256), "context of the demo card": (336, 128)}
"""Sides of the overview that is read and of the context, px: 2.6 overview px a context px."""


def by_lines(overview: NDArray[np.uint8], side_px: int) -> NDArray[np.float32]:
    """Average as `read_reduced` does: line by line."""
    rows = cell_means(overview, 0.0, float(len(overview)), side_px)
    return cell_means(rows.swapaxes(0, 1), 0.0, float(overview.shape[1]), side_px).swapaxes(0, 1)


def by_products(overview: NDArray[np.uint8], side_px: int) -> NDArray[np.float32]:
    """Average by products with matrices of the shares."""
    length = len(overview)
    edges, px = np.linspace(0, length, side_px + 1)[:, None], np.arange(length)
    covered = np.minimum(edges[1:], px + 1) - np.maximum(edges[:-1], px)
    shares = (np.clip(covered, 0, None) * (side_px / length)).astype(np.float32)
    means: NDArray[np.float32] = np.einsum(
        "ij,jkc,lk->ilc", shares, overview.astype(np.float32), shares, optimize=True
    )
    return means


@click.command()
@click.option("--repeats", type=click.IntRange(min=1), default=20, show_default=True)
def main(repeats: int) -> None:
    """Print the shortest time of each way, and how far apart their values are."""
    table = [["what is averaged", "by lines ms", "by products ms", "apart by at most"]]
    rng = np.random.default_rng(1)
    for case, (overview_px, side_px) in CASES.items():
        overview = rng.integers(0, 256, (overview_px, overview_px, 3), np.uint8)
        ways = {way.__name__: partial(way, overview, side_px) for way in (by_lines, by_products)}
        lines, products = fastest_ms(ways, repeats).values()
        gap = np.abs(by_lines(overview, side_px) - by_products(overview, side_px)).max()
        table.append([case, f"{lines:.1f}", f"{products:.1f}", f"{gap:.4f} grey values"])
    click.echo(f"{markdown(table)}\n\n{machine()}")


if __name__ == "__main__":
    main()
