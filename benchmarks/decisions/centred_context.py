"""Compare a context that slices share with one centred on each: scores on unseen phantoms, arithmetic, time.

`python -m benchmarks.decisions.centred_context`; about ten minutes on two cores with the default slides.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import click
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from darefine.cli.demo import PHANTOM_VERSION
from model.data.splits import SlideWithTruth
from model.evaluation.evaluate import evaluate_patches, open_slides
from model.evaluation.regions import grid_patches
from model.evaluation.report import markdown
from model.inference.cpu_tuning import tune_malloc
from model.inference.segmenter import Segmenter
from model.network.base import ContextWindows
from model.network.build import build_network
from model.network.encoder import fold_batch_norms
from model.network.zoo import NETWORKS
from workers.bench.measure import machine
from wsi.geometry import Size
from wsi.grid import ContextMode, InputGeometry, make_grid
from wsi.patch_view import PatchView
from wsi.phantom import write_phantom

from .fastest import fastest_ms

RESNET50 = "resnet50-50-aligned"
MODES: tuple[ContextMode, ...] = get_args(ContextMode)


@click.command()
@click.option("--weights", type=click.Path(exists=True, path_type=Path), required=True, help="A model card.")
@click.option("--slides", type=click.IntRange(min=1), default=4, show_default=True)
@click.option("--size", type=click.IntRange(min=2048), default=12_288, show_default=True)
@click.option(
    "--first-seed", default=901, show_default=True, help="Of the phantoms; training has small ones."
)
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True)
def main(weights: Path, slides: int, size: int, first_seed: int, repeats: int) -> None:
    """Print scores, time and arithmetic of both."""
    tune_malloc()
    base = Segmenter.load(weights, device="cpu", precision="fp32")
    segmenters = {mode: _with_context(base, mode) for mode in MODES}
    with TemporaryDirectory() as folder:
        pairs = unseen_phantoms(Path(folder), first_seed, slides, size)
        click.echo(markdown(_scores(segmenters, pairs)) + "\n")
    click.echo(markdown(_times(segmenters, repeats)) + "\n")
    click.echo(markdown(_paper_times(repeats)) + "\n")
    click.echo(f"{markdown(_arithmetic())}\n\n{torch.get_num_threads()} threads, {machine()}")


def _with_context(base: Segmenter, mode: ContextMode) -> Segmenter:
    card = replace(base.card, input=replace(base.card.input, context=mode))
    return Segmenter(base.network, card, device="cpu", precision="fp32")


def unseen_phantoms(folder: Path, first_seed: int, count: int, size_px: int) -> list[SlideWithTruth]:
    """Make phantoms of consecutive seeds in `folder`, with their truth."""
    pairs = []
    for seed in range(first_seed, first_seed + count):
        slide = folder / f"{seed}.tif"
        write_phantom(slide, size_px=size_px, seed=seed, version=PHANTOM_VERSION)
        pairs.append(SlideWithTruth(slide, slide.with_name(f"{seed}-truth.tif")))
    return pairs


def _scores(segmenters: dict[ContextMode, Segmenter], pairs: list[SlideWithTruth]) -> list[list[str]]:
    table = [["context", "MIoU", "accuracy", "MIoU of mixed patches"]]
    for mode, segmenter in segmenters.items():
        with open_slides(segmenter.card, pairs) as slides:
            patches = grid_patches(slides, len(segmenter.card.classes))
            total = evaluate_patches(segmenter, slides, patches).total
        whole, mixed = total.all.metrics(), total.mixed.metrics()
        table.append([mode, f"{whole.miou:.3f}", f"{whole.accuracy:.3f}", f"{mixed.miou:.3f}"])
    return table


def _times(segmenters: dict[ContextMode, Segmenter], repeats: int) -> list[list[str]]:
    views = {mode: _whole_patch(segmenter.card.input) for mode, segmenter in segmenters.items()}
    rng = np.random.default_rng(1)
    sides = {mode: view.region.width for mode, view in views.items()}
    region = rng.integers(0, 256, (sides["patch"], sides["patch"], 3), np.uint8)
    field_px = views["centred"].context_network_px
    field = rng.integers(0, 256, (field_px, field_px, 3), np.uint8)
    runs = {
        "patch": lambda: segmenters["patch"].label_patch(region, views["patch"]),
        "centred": lambda: segmenters["centred"].label_patch(region, views["centred"], context=field),
    }
    return [
        ["context", "a patch of 25 slices, s"],
        *([k, f"{ms / 1e3:.2f}"] for k, ms in fastest_ms(runs, repeats).items()),
    ]


def _whole_patch(geometry: InputGeometry) -> PatchView:
    grid = make_grid(Size(20_000, 20_000), geometry.mpp, geometry)
    steps = range(grid.slices_per_side)
    return grid.patch_view(0, [(x, y) for y in steps for x in steps])


def _paper_views() -> list[PatchView]:
    """Return a patch of 25 slices at the paper's ratio of 5, with each kind of context."""
    paper = InputGeometry(mpp=0.934, context_ratio=5, slices_per_side=5, halo_px=64)
    return [_whole_patch(replace(paper, context=mode)) for mode in MODES]


@torch.inference_mode()
def _paper_times(repeats: int) -> list[list[str]]:
    """Time the parts of a patch with the paper's network: either context, and one slice."""
    shared, centred = _paper_views()
    network = build_network(NETWORKS[RESNET50].config, 4).eval()
    fold_batch_norms(network)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
    sides = {
        "context": shared.context_network_px,
        "field": centred.context_network_px,
        "slice": shared.slice_network_px,
    }
    images = {
        name: torch.randn(1, 3, px, px).contiguous(memory_format=torch.channels_last)
        for name, px in sides.items()
    }
    windows = ContextWindows(torch.from_numpy(centred.context_boxes), centred.context_window_network_px)
    features, boxes = network.encode_context(images["context"]), torch.from_numpy(shared.boxes[:1])
    runs = {
        "context": lambda: network.encode_context(images["context"]),
        "field": lambda: network.encode_context(images["field"], windows),
        "slice": lambda: network(images["slice"], features, boxes),
    }
    ms = fastest_ms(runs, repeats)
    patch = len(shared.corners) * ms["slice"] + ms["context"]
    more = f"{100 * (ms['field'] - ms['context']) / patch:.1f} %"
    return [
        [f"{RESNET50}, ratio 5", "patch, ms", "field, ms", "a slice, ms", "a centred patch takes more"],
        ["fp32", *(f"{ms[name]:.0f}" for name in ("context", "field", "slice")), more],
    ]


def _arithmetic() -> list[list[str]]:
    """Count the paper's network at ratio 5: a patch of 25 slices with each kind of context."""
    config = NETWORKS[RESNET50].config
    shared, centred = _paper_views()
    count = len(shared.corners)
    with torch.device("meta"), torch.no_grad():
        network = build_network(config, 4).eval()
        boxes = torch.empty(count, 4)

        def gflop(side_px: int, windows: ContextWindows | None = None) -> float:
            with FlopCounterMode(display=False) as counter:
                network.encode_context(torch.empty(1, 3, side_px, side_px), windows)
            return float(counter.get_total_flops()) / 1e9

        context, field = gflop(shared.context_network_px), gflop(centred.context_network_px)
        features = network.encode_context(
            torch.empty(1, 3, shared.context_network_px, shared.context_network_px)
        )
        side_px = shared.slice_network_px
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, side_px, side_px), features, boxes[:1])
        slices = count * counter.get_total_flops() / 1e9
    rows = {"the patch, once": context, "a field, once": field, "a window a slice": count * context}
    return [
        [f"{RESNET50}, ratio 5: context", "GFLOP a patch", "of the slices'"],
        *([name, f"{value:.0f}", f"{100 * value / slices:.1f} %"] for name, value in rows.items()),
    ]


if __name__ == "__main__":
    main()
