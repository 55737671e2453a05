"""Scores against arithmetic: what a slice costs, and the picture docs/study-costs.png."""

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from model.network.flops import COUNTED_SIDE_PX
from model.training.from_scratch_recipe import PHANTOM_INPUT
from wsi.geometry import Size
from wsi.grid import make_grid

from .orders import miou_by_seed, miou_interval
from .results import Run
from .rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_INCH, HEIGHT_INCH, DPI, FONT = 7.0, 4.6, 160, 8
MARKERS = "osD"
"""Of the first ten rows, of the next ten: matplotlib has ten colours."""


def gflop_of(run: Run) -> float:
    """Return the GFLOP of a slice of COUNTED_SIDE_PX with its share of the context, encoded once a patch.

    That is the patch, or the field that holds the windows of all its slices (`input.context` "centred").
    """
    slice_gflop: float = run["slice_gflop"]
    if run["context_gflop"] is None:
        return slice_gflop
    geometry = replace(PHANTOM_INPUT, context=run["context"])
    side = geometry.slices_per_side
    grid = make_grid(Size(20_000, 20_000), geometry.mpp, geometry)
    view = grid.patch_view(0, [(x, y) for y in range(side) for x in range(side)])
    area = (view.context_network_px / COUNTED_SIDE_PX) ** 2
    share: float = run["context_gflop"] * area / side**2
    return slice_gflop + share


def draw_costs(runs: Sequence[Run], rows: Sequence[Row], out: Path) -> None:
    """Draw the mean MIoU of each row with its interval against the GFLOP of a slice, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  (an extra: not everyone has it)
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(WIDTH_INCH, HEIGHT_INCH), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for number, row in enumerate(rows):
        _draw_point(axes, runs, row, MARKERS[number // 10])
    axes.set_xlabel("GFLOP of a slice of 512 px, its share of the context included", fontsize=FONT)
    axes.set_ylabel("MIoU in percent, interval over slides and seeds", fontsize=FONT)
    axes.tick_params(labelsize=FONT)
    axes.legend(fontsize=FONT - 1, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    axes.grid(alpha=0.3)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)


def _draw_point(axes: "Axes", runs: Sequence[Run], row: Row, marker: str) -> None:
    interval = miou_interval(runs, row.name, "all")
    if interval is None:
        return
    own = next(run for run in runs if run["row"] == row.name)
    mean = statistics.fmean(miou_by_seed(runs, row.name, "all").values())
    low, high = interval
    errors = [[100 * max(0.0, mean - low)], [100 * max(0.0, high - mean)]]
    axes.errorbar([gflop_of(own)], [100 * mean], yerr=errors, fmt=marker, capsize=3, label=row.title)
