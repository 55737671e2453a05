"""Draw example figures with truth and predictions (the paper's Fig. 5), and confusion matrices.

matplotlib comes with the extra "train" and is imported only when a figure is drawn. Figures are independent
objects: no pyplot, no state shared between threads.
"""

from __future__ import annotations

import importlib.util
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi.palette import LabelClass, Palette

from ..errors import ReportError
from .examples import Example
from .metrics import ConfusionMatrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_INCH = 2.3
"""Width of a panel."""
LEGEND_INCH, LETTER_INCH = 0.55, 0.075
"""Width of an entry of the legend: without its name, and for each letter of it."""
DPI = 160
PANEL_PX = round(PANEL_INCH * DPI)
FONT = 9
"""Font size in points."""
UNLABELLED = "no label"
"""Name of value 0."""


@dataclass(frozen=True, slots=True)
class Row:
    """Row of a figure: the title at its left, and its panels (H, W, 3) uint8 RGB of equal size."""

    title: str
    panels: tuple[NDArray[np.uint8], ...]


def require_matplotlib() -> None:
    """Check that matplotlib is installed.

    Raises:
        ReportError: It is not.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ReportError(
            "pictures need matplotlib, which is not installed: pip install 'darefine[train]'. Without "
            "pictures: leave --out away and take --json."
        )


def example_rows(
    examples: Sequence[Example], networks: Sequence[str], classes: Sequence[LabelClass]
) -> list[Row]:
    """Build one row for each example: panels of the slide, the truth and every network.

    Where there is no truth, predictions are blank: nothing counts there.
    """
    colours = palette_of(classes).lookup()
    rows = []
    for example in examples:
        maps = (example.truth, *(example.labels[name] * (example.truth > 0) for name in networks))
        side_mm = example.rect.width * example.label_mpp / 1000
        title = f"{Path(example.slide).stem}\n{side_mm:.2f} mm wide"
        rows.append(
            Row(title, (_shrink_image(example.pixels), *(colours[_shrink_labels(labels)] for labels in maps)))
        )
    return rows


def save_figure(
    rows: Sequence[Row],
    titles: Sequence[str],
    classes: Sequence[LabelClass],
    path: Path,
    *,
    panel_inch: float = PANEL_INCH,
) -> None:
    """Write a PNG: a grid of panels with column titles, row titles and a legend of the classes."""
    from matplotlib.patches import Patch  # noqa: PLC0415  (an extra: not everyone has it)

    heights = [panel_inch * row.panels[0].shape[0] / row.panels[0].shape[1] for row in rows]
    width = 0.5 + len(titles) * panel_inch
    figure = _figure(width, 1.0 + sum(heights))
    grid = figure.subplots(len(rows), len(titles), squeeze=False, gridspec_kw={"height_ratios": heights})
    for row, height, axes in zip(rows, heights, grid, strict=True):
        for panel, axis in zip(row.panels, axes, strict=True):
            axis.imshow(panel, interpolation="nearest", aspect="equal")
            axis.set_xticks([])
            axis.set_yticks([])
        axes[0].set_ylabel(_wrap(row.title, height), fontsize=FONT)
    for title, axis in zip(titles, grid[0], strict=True):
        axis.set_title(_wrap(title, panel_inch), fontsize=FONT)
    entries = [*palette_of(classes).classes, LabelClass(255, UNLABELLED, (255, 255, 255))]
    handles = [
        Patch(facecolor="#{:02x}{:02x}{:02x}".format(*entry.colour), edgecolor="grey", label=entry.name)
        for entry in entries
    ]
    entry_inch = LEGEND_INCH + LETTER_INCH * max(len(entry.name) for entry in entries)
    columns = min(len(handles), max(1, int(width / entry_inch)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=FONT, frameon=False)
    figure.savefig(path)


def save_confusion(confusion: ConfusionMatrix, names: Sequence[str], title: str, path: Path) -> None:
    """Write a PNG of a confusion matrix: shares of each true class by predicted class, and pixel counts.

    Pixels without a prediction get a column of their own, if there are any; a class without truth has dashes.
    """
    counts = confusion.counts
    columns = list(names)
    if confusion.missed.any():
        counts, columns = np.column_stack([counts, confusion.missed]), [*columns, UNLABELLED]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure = _figure(1.6 + 0.85 * len(columns), 1.5 + 0.75 * len(names))
    axis = figure.subplots()
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        known = counts[row].any()
        text = f"{100 * share:.1f} %\n{_pixel_count_text(int(counts[row, column]))}" if known else "-"
        colour = "white" if share > 0.5 else "black"
        axis.text(column, row, text, ha="center", va="center", fontsize=FONT - 1, color=colour)
    _label_axes(axis, columns, names)
    axis.set_title(title, fontsize=FONT)
    bar = figure.colorbar(image, ax=axis, shrink=0.9)
    bar.ax.tick_params(labelsize=FONT - 1)
    bar.set_label("share of the true class", fontsize=FONT)
    figure.savefig(path)


def palette_of(classes: Sequence[LabelClass]) -> Palette:
    """Return the palette of a card's classes."""
    return Palette(tuple(classes))


def _figure(width_inch: float, height_inch: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  (an extra: not everyone has it)
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(width_inch, height_inch), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _label_axes(axis: Axes, columns: Sequence[str], rows: Sequence[str]) -> None:
    axis.set_xticks(range(len(columns)), columns, fontsize=FONT)
    axis.set_yticks(range(len(rows)), rows, fontsize=FONT)
    axis.set_xlabel("predicted", fontsize=FONT)
    axis.set_ylabel("truth", fontsize=FONT)


def _shrink_image(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reduce an image (H, W, 3) by averaging to about PANEL_PX."""
    factor = max(1, max(pixels.shape[:2]) // PANEL_PX)
    return np.asarray(Image.fromarray(pixels).reduce(factor))


def _shrink_labels(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reduce a label map to about PANEL_PX by picking pixels, so that no class is invented."""
    step = max(1, max(labels.shape) // PANEL_PX)
    return labels[step // 2 :: step, step // 2 :: step]


def _pixel_count_text(count: int) -> str:
    for unit, name in ((10**9, " Gpx"), (10**6, " Mpx"), (10**3, " kpx")):
        if count >= unit:
            return f"{count / unit:.3g}{name}"
    return f"{count} px"


def _wrap(title: str, inch: float) -> str:
    """Break the lines of a title at spaces and dashes so that they fit into `inch`."""
    width = int(inch / LETTER_INCH)
    return "\n".join(part for line in title.split("\n") for part in textwrap.wrap(line, width))
