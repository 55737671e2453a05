"""Compare windows of a slice, a quarter of a patch and a whole patch: scores, arithmetic, core time, memory.

`python -m benchmarks.decisions.window_sizes --weights weights/phantom-resnet18-centred.json`; some fifteen
minutes on two cores with the default slides.
"""

import multiprocessing
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from model.card import ModelCard
from model.data.annotated_slide import AnnotatedSlide
from model.evaluation.evaluate import evaluate_patches, open_slides
from model.evaluation.regions import EvalPatch, grid_patches
from model.evaluation.report import markdown
from model.inference.cpu_tuning import tune_malloc
from model.inference.segmenter import Segmenter
from model.network.build import build_network
from workers.bench.measure import machine
from wsi.geometry import Size, WindowSpan
from wsi.grid import Grid, make_grid

from .centred_context import unseen_phantoms
from .fastest import rounds_ms

Key = tuple[int, int, int]
"""A slide's number, and the corner of a patch on it."""

TIMING_SIZE = Size(20_480, 20_480)
"""Of a slide whose first patch is whole, l0 px at half the card's pixel size."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A window and its halo."""

    window: WindowSpan
    halo_px: int

    def card(self, card: ModelCard) -> ModelCard:
        """Return a card with this cut."""
        return replace(card, input=replace(card.input, window=self.window, halo_px=self.halo_px))

    def grid(self, card: ModelCard) -> Grid:
        """Return the grid of TIMING_SIZE; the context's margin stays the card's."""
        halo_px, window = self.halo_px, self.window
        return make_grid(TIMING_SIZE, card.input.mpp / 2, card.input, halo_px=halo_px, window=window)


STRIP_PX = 32
"""Width of what is near an edge, label px."""

CUTS = (
    *(Cut("slice", halo_px) for halo_px in (64, 32, 16, 0)),
    Cut("quarter", 64),
    Cut("quarter", 32),
    Cut("patch", 64),
)
"""The first is what the others are compared with."""


@click.command()
@click.option("--weights", type=click.Path(exists=True, path_type=Path), required=True, help="A model card.")
@click.option("--slides", type=click.IntRange(min=1), default=4, show_default=True)
@click.option("--size", type=click.IntRange(min=2048), default=12_288, show_default=True)
@click.option("--first-seed", default=901, show_default=True, help="Of phantoms that training did not see.")
@click.option("--precision", default="auto", show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--slice-only", is_flag=True, help="Windows of slices alone, with several halos.")
def main(
    weights: Path, slides: int, size: int, first_seed: int, precision: str, rounds: int, slice_only: bool
) -> None:
    """Print a row for each window."""
    tune_malloc()
    cuts = [cut for cut in CUTS if cut.window == "slice" or not slice_only]
    card = ModelCard.load(weights)
    with TemporaryDirectory() as folder:
        scores = scores_of(weights, unseen_phantoms(Path(folder), first_seed, slides, size), precision, cuts)
    costs, times = [gflop_a_patch(cut, card) for cut in cuts], times_of(weights, precision, rounds, cuts)
    peaks = [peak_mb(cut, weights, precision) for cut in cuts]
    table = [["window", "halo px", "window px", *scores[0], "GFLOP", "core time", "range", "peak MB"]]
    for cut, own, cost, (share, spread), peak in zip(cuts, scores[1:], costs, times, peaks, strict=True):
        arithmetic = f"{cost / costs[0]:.2f}"
        window_px = str(cut.grid(card).window_px)
        table.append(
            [cut.window, str(cut.halo_px), window_px, *own, arithmetic, share, spread, f"{peak:.0f}"]
        )
    click.echo(f"{markdown(table)}\n\n{precision}, {torch.get_num_threads()} threads, {machine()}")


def scores_of(weights: Path, pairs: Sequence[Any], precision: str, cuts: Sequence[Cut]) -> list[list[str]]:
    """Return heading and cells: scores, labels equal to the first cut's, errors at edges against inside."""
    base = Segmenter.load(weights, device="cpu", precision=precision)
    usual: Mapping[Key, NDArray[np.uint8]] = {}
    rows = [["accuracy %", "MIoU", "MIoU of mixed patches", "labels as the first %", "wrong at edges"]]
    for cut in cuts:
        segmenter = Segmenter(base.network, cut.card(base.card), device="cpu", precision=precision)
        # The context keeps the margin that the weights were trained with.
        with open_slides(base.card, pairs) as slides:
            for slide in slides:
                slide.grid = recut(slide.grid, cut)
            patches = grid_patches(slides, len(base.card.classes))
            seen = Compared(slides, usual)
            total = evaluate_patches(segmenter, slides, patches, seen=seen).total
        whole, mixed = total.all.metrics(), total.mixed.metrics()
        cells = [f"{100 * whole.accuracy:.2f}", f"{whole.miou:.4f}", f"{mixed.miou:.4f}"]
        usual = usual or seen.labels
        rows.append([*cells, f"{100 * seen.equal / seen.pixels:.2f}", f"{seen.seam_ratio:.2f}"])
    return rows


class Compared:
    """Labels of all patches, compared where there is truth with those of another cut, if there are any."""

    def __init__(self, slides: Sequence[AnnotatedSlide], usual: Mapping[Key, NDArray[np.uint8]]) -> None:
        self._slides, self._usual = slides, usual
        self.labels: dict[Key, NDArray[np.uint8]] = {}
        self.equal, self.pixels = 0, 0
        self._wrong, self._true = np.zeros(2), np.zeros(2)

    def __call__(self, patch: EvalPatch, labels: NDArray[np.uint8]) -> None:
        """Take the labels of a patch's windows."""
        key = (patch.slide, patch.core.x, patch.core.y)
        core = np.zeros((patch.core.height, patch.core.width), np.uint8)
        for slice_, own in zip(patch.view.slices, labels, strict=True):
            at = slice_.moved(-patch.core.x, -patch.core.y)
            core[at.y : at.bottom, at.x : at.right] = own
        self.labels[key] = core
        truth = self._slides[patch.slide].read_truth(patch.core)
        self.equal += int((core == self._usual.get(key, core))[truth > 0].sum())
        self.pixels += int((truth > 0).sum())
        at_edge = np.zeros(patch.view.slice_px, bool)
        at_edge[:STRIP_PX], at_edge[-STRIP_PX:] = True, True
        line = np.tile(at_edge, patch.core.width // patch.view.slice_px)
        near = line | line[:, None]
        for index, mask in enumerate((near, ~near)):
            self._true[index] += (truth[mask] > 0).sum()
            self._wrong[index] += ((truth > 0) & (core != truth))[mask].sum()

    @property
    def seam_ratio(self) -> float:
        """How many times as often labels are wrong near edges of what windows label as elsewhere."""
        border, inside = self._wrong / self._true
        return float(border / inside)


def recut(grid: Grid, cut: Cut) -> Grid:
    """Return the grid with other windows."""
    changed = replace(grid, window=cut.window, halo_px=cut.halo_px)
    return replace(changed, slice_network_px=changed.network_px(changed.window_px))


def gflop_a_patch(cut: Cut, card: ModelCard) -> float:
    """Count the arithmetic of all windows of a patch, without its context."""
    grid = cut.grid(card)
    side, margin = grid.slice_network_px, max(0, grid.halo_px // 4 - 1)
    with torch.device("meta"), torch.no_grad():
        network = build_network(card.network, len(card.classes)).eval()
        context = network.encode_context(torch.empty(1, 3, 128, 128)) if card.network.sees_patch else None
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, side, side), context, torch.empty(1, 4), margin)
    return float(counter.get_total_flops()) / 1e9 * grid.windows_per_side**2


def times_of(weights: Path, precision: str, rounds: int, cuts: Sequence[Cut]) -> list[tuple[str, str]]:
    """Return the core time of a whole patch as a share of the first cut's: the median, and the range."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    segmenter = Segmenter.load(weights, device="cpu", precision=precision)
    runs = {str(cut): whole_patch(segmenter, cut) for cut in cuts}
    times = rounds_ms(runs, rounds, time.process_time)
    torch.set_num_threads(threads)
    first = times[str(cuts[0])]
    shares = [[own / base for own, base in zip(times[str(cut)], first, strict=True)] for cut in cuts]
    return [(f"{median(own):.2f}", f"{min(own):.2f} .. {max(own):.2f}") for own in shares]


def whole_patch(segmenter: Segmenter, cut: Cut) -> Any:
    """Return what labels a patch of noise, all of it."""
    grid = cut.grid(segmenter.card)
    steps = range(grid.slices_per_side)
    view = grid.patch_view(0, [(x, y) for y in steps for x in steps])
    noise = np.random.default_rng(1)
    region = noise.integers(0, 256, (view.region.height, view.region.width, 3), np.uint8)
    field = noise.integers(0, 256, (view.context_network_px,) * 2 + (3,), np.uint8)
    return lambda: segmenter.label_patch(region, view, context=field if view.context_windows else None)


def peak_mb(cut: Cut, weights: Path, precision: str) -> float:
    """Return the peak resident memory of a process that labels one patch, MB. Linux only."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_mb, (cut, weights, precision))


def _peak_mb(cut: Cut, weights: Path, precision: str) -> float:
    tune_malloc()
    whole_patch(Segmenter.load(weights, device="cpu", precision=precision), cut)()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
