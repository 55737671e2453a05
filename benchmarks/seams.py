"""Benchmark of seams: label errors along borders of tiles and patches, halo by halo, and a halo's cost.

The judge of a pixel is a window three tiles wide that has a corner of tiles in its middle. Compared with it
are two kinds of strips: along the borders that meet there, and the same strips half a tile further, in the
middle of the tiles. Both lie far from the judge's own edges, and the slices of both lie shifted against the
judge by as much, so whatever a shift alone does to labels is in both; the ratio of their disagreements is
what being near an edge does.

A judge has the context of the patch whose pixels it judges; where patches meet, each has its own. So ratios
speak of slices only, for tiles and patches alike. What no halo can mend is counted apart, as the context
step: how many labels along the borders of patches depend on which of the two patches is the context.

`python -m benchmarks.seams` writes `benchmarks/results/seams.json` and the table of `benchmarks/README.md`.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch

from darefine.cli.demo import PHANTOM_VERSION
from darefine.cli.progress_bar import progress_bar
from model.evaluation.regions import spread
from model.inference.cpu_tuning import tune_malloc
from model.inference.segmenter import Segmenter
from workers.bench.bench import load_average
from workers.bench.measure import machine
from workers.engine.segment import PatchRun
from workers.engine.stopwatch import Stopwatch
from wsi.errors import MppUnknownError
from wsi.geometry import Rect
from wsi.grid import TILE_PX, Grid, make_grid
from wsi.patch_view import PatchView
from wsi.phantom import write_phantom
from wsi.plan import make_plan
from wsi.reading.patch_pixels import read_patch
from wsi.reading.slide import Slide, open_slide
from wsi.tissue import TissueMask, find_tissue
from wsi.writing.label_store import LabelStore

from .options import out_option
from .seam_strips import (
    BLOCK_PX,
    KINDS,
    STRIP_PX,
    Corner,
    Counts,
    Kind,
    Labels,
    SeamRatio,
    by_quarters,
    corners_of,
    count_step,
    count_strips,
    shares,
)
from .tables import DEMO_CARD, caption_of, write_results

HALOS_PX = (0, 16, 32, 64, 128, 256)
GOOD_RATIO = 1.05
"""A halo is wide enough when labels at borders disagree at most so many times as often as inside."""

JUDGE_HALO_PX = TILE_PX

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class HaloRow:
    """Seam ratios and cost of one halo."""

    halo_px: int
    tile: SeamRatio
    patch: SeamRatio
    input_px_per_output_px: float
    """Network px of slices and context for each label px of a patch that is all tissue."""
    seconds: float
    """Seconds of labelling all tiles with tissue."""
    megapixels_per_second: float


@dataclass(frozen=True, slots=True)
class Seams:
    """Seams of one slide, halo by halo."""

    halos: tuple[HaloRow, ...]
    context_step: float | None
    """Fraction of pixels along borders of patches whose label depends on which patch is the context.

    None: there are no such pixels.
    """


def measure_seams(
    slide: Slide,
    segmenter: Segmenter,
    *,
    halos_px: Sequence[int] = HALOS_PX,
    corners_each: int | None = None,
    progress: Progress = lambda _name, _share: None,
) -> Seams:
    """Measure the seams of one slide. Memory: a label map for each halo.

    At most `corners_each` corners of either kind are judged, evenly spread; None: all. `progress` is told
    what is being done, and the fraction of it done.

    Raises:
        WsiError: when the slide cannot be read or cut.
    """
    grids = {halo: grid_of(slide, segmenter, halo) for halo in halos_px}
    judge_grid = grid_of(slide, segmenter, JUDGE_HALO_PX)
    tissue = find_tissue(slide, judge_grid)
    plan = make_plan(judge_grid, tissue)
    maps, seconds = label_maps(slide, segmenter, grids, tissue, progress)
    every = corners_of(plan)
    corners = [c for kind in KINDS for c in spread([c for c in every if c.kind == kind], corners_each)]
    counts, step = count_corners(slide, judge_grid, segmenter, maps, corners, progress)
    megapixels = sum(len(patch.slices) for patch in plan.patches) * judge_grid.slice_megapixels_l0
    rows = tuple(
        HaloRow(
            halo,
            tile=SeamRatio.of(counts[halo, "tile"]),
            patch=SeamRatio.of(counts[halo, "patch"]),
            input_px_per_output_px=network_px(grid, sees_patch=segmenter.card.network.sees_patch),
            seconds=seconds[halo],
            megapixels_per_second=megapixels / seconds[halo],
        )
        for halo, grid in grids.items()
    )
    return Seams(rows, context_step=shares(step)[0])


def count_corners(
    slide: Slide,
    grid: Grid,
    segmenter: Segmenter,
    maps: Mapping[int, Labels],
    corners: Sequence[Corner],
    progress: Progress,
) -> tuple[dict[tuple[int, Kind], list[Counts]], Counts]:
    """Count the strips of every corner by halo and kind of corner, and the context step.

    `grid` is that of JUDGE_HALO_PX.
    """
    counts: dict[tuple[int, Kind], list[Counts]] = {(halo, kind): [] for halo in maps for kind in KINDS}
    step = np.zeros(4, np.int64)
    for done, corner in enumerate(corners, start=1):
        judges = judge_labels(slide, grid, segmenter, corner)
        judge = by_quarters(judges, corner.patches)
        for halo, labels in maps.items():
            strips = count_strips(corner.block(labels), judge, upright=corner.upright, level=corner.level)
            counts[halo, corner.kind].append(strips)
        step += count_step(corner.block(maps[min(maps)]), judges, corner)
        progress("corners", done / len(corners))
    return counts, step


def grid_of(slide: Slide, segmenter: Segmenter, halo_px: int) -> Grid:
    """Return the grid by which a job with that halo would cut the slide.

    Raises:
        MppUnknownError: when the slide does not say its pixel size.
        MppOutOfRangeError: when the pixel size is absurd, or too coarse for the model.
        HaloError: when the halo is not a multiple of 16 label px within one tile.
    """
    if slide.info.mpp is None:
        raise MppUnknownError("The slide")
    geometry = segmenter.card.input
    return make_grid(slide.info.size, slide.info.mpp.value, geometry, halo_px=halo_px)


def label_maps(
    slide: Slide, segmenter: Segmenter, grids: Mapping[int, Grid], tissue: TissueMask, progress: Progress
) -> tuple[dict[int, Labels], dict[int, float]]:
    """Return whole label maps by halo, made by the steps of a job, and the seconds each took in the network.

    All halos of a patch come before the next patch, so that a machine that grows slower does so for all.
    """
    runs, maps = {}, {}
    for halo, grid in grids.items():
        # Nothing is stored, so the store's folder does not matter.
        store = LabelStore(Path(), grid)
        runs[halo] = PatchRun(slide, make_plan(grid, tissue), tissue, store, segmenter, Stopwatch())
        maps[halo] = np.zeros((grid.patch_rows * grid.patch_px, grid.patch_columns * grid.patch_px), np.uint8)
    patches = runs[min(runs)].plan.patches
    for done, patch in enumerate(patches, start=1):
        for halo, run in runs.items():
            pixels = run.read(patch)
            if done == 1:
                # What libraries do once a shape is not the halo's cost.
                replace(run, watch=Stopwatch()).label(patch, pixels)
            core = grids[halo].patch_core(patch.index)
            maps[halo][core.y : core.bottom, core.x : core.right] = run.label(patch, pixels)
        progress("label maps", done / len(patches))
    return maps, {halo: run.watch.seconds["network"] for halo, run in runs.items()}


def judge_labels(slide: Slide, grid: Grid, segmenter: Segmenter, corner: Corner) -> dict[int, Labels]:
    """Label the block (BLOCK_PX, BLOCK_PX) around a corner, with each of its patches as the context.

    The labels come from one window of `grid.window_px`; `grid` is that of JUDGE_HALO_PX. Where contexts are
    centred, the judge's is centred on the block, and the judge is the same for all patches.
    """
    patches = set(corner.patches)
    if grid.context == "centred":
        (labels,) = _judged(slide, grid, segmenter, _centred_view(grid, corner))
        return dict.fromkeys(patches, labels)
    return {patch: _judged(slide, grid, segmenter, _patch_view(grid, corner, patch))[0] for patch in patches}


def _judged(slide: Slide, grid: Grid, segmenter: Segmenter, view: PatchView) -> Labels:
    pixels = read_patch(slide, view, grid.downsample)
    return segmenter.label_patch(pixels.region, view, context=pixels.context)


def _patch_view(grid: Grid, corner: Corner, patch: int) -> PatchView:
    """Cut the block around a corner with the context of one patch."""
    window = Rect(corner.x, corner.y, 0, 0).grown(grid.window_px // 2)
    context = grid.patch_core(patch).grown(grid.context_margin_px)
    sides = (context.x - window.x, context.y - window.y, window.right - context.right)
    inset = max(0, *sides, window.bottom - context.bottom)
    return _block_view(grid, corner, context.grown(inset), context, ())


def _centred_view(grid: Grid, corner: Corner) -> PatchView:
    """Cut the block around a corner with a context centred on it."""
    context = Rect(corner.x, corner.y, 0, 0).grown(grid.patch_px // 2 + grid.context_margin_px)
    region = Rect(corner.x, corner.y, 0, 0).grown(grid.window_px // 2)
    return _block_view(grid, corner, region, context, (context,))


def _block_view(
    grid: Grid, corner: Corner, region: Rect, context: Rect, windows: tuple[Rect, ...]
) -> PatchView:
    return PatchView(
        region=region,
        context=context,
        corners=((corner.x - BLOCK_PX // 2, corner.y - BLOCK_PX // 2),),
        slice_px=BLOCK_PX,
        halo_px=(grid.window_px - BLOCK_PX) // 2,
        slice_network_px=grid.slice_network_px,
        context_network_px=grid.context_network_px,
        context_windows=windows,
    )


def network_px(grid: Grid, *, sees_patch: bool) -> float:
    """Return the network px of slices and context for each label px of a patch that is all tissue."""
    slices = (grid.slices_per_side * grid.slice_network_px) ** 2
    context = grid.patch_view(0, ()).context_network_px ** 2 if sees_patch else 0
    return (slices + context) / grid.patch_px**2


def cheapest(rows: Sequence[HaloRow]) -> int | None:
    """Return the narrowest halo whose ratios, as far as there are any, are at most GOOD_RATIO."""
    for row in sorted(rows, key=lambda row: row.halo_px):
        ratios = [side.ratio for side in (row.tile, row.patch) if side.ratio is not None]
        if ratios and max(ratios) <= GOOD_RATIO:
            return row.halo_px
    return None


def table_of(rows: Sequence[HaloRow]) -> list[list[str]]:
    """Return heading and cells of the table."""
    heading = ["halo px", "tile borders", "95 %", "patch borders", "95 %"]
    heading += ["tiles: border / inside", "patches: border / inside", "network px per label px", "s", "MP/s"]
    table = [heading]
    for row in rows:
        ratios = [cell for side in (row.tile, row.patch) for cell in _ratio_cells(side)]
        disagree = [f"{_percent(side.border)} / {_percent(side.interior)}" for side in (row.tile, row.patch)]
        costs = [
            f"{row.input_px_per_output_px:.2f}",
            f"{row.seconds:.1f}",
            f"{row.megapixels_per_second:.1f}",
        ]
        table.append([str(row.halo_px), *ratios, *disagree, *costs])
    return table


def _ratio_cells(side: SeamRatio) -> tuple[str, str]:
    if side.ratio is None or side.low is None or side.high is None:
        return "-", "-"
    return f"{side.ratio:.2f}", f"{side.low:.2f} .. {side.high:.2f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


@click.command()
@click.option("--model", "card", type=FILE, default=DEMO_CARD, help="Model card.  [default: the demo's]")
@click.option("--slide", "path", type=FILE, help="Slide to look at.  [default: a phantom]")
@click.option("--size", "size_px", default=20_480, show_default=True, help="Side of the phantom, l0 px.")
@click.option("--seed", default=2026, show_default=True, help="Of the phantom; training has other seeds.")
@click.option("--halo", "halos_px", type=int, multiple=True, help="Repeatable.  [default: the table's]")
@click.option("--corners", type=int, help="At most so many of tiles, and of patches.  [default: all]")
@click.option("--device", default="auto", show_default=True)
@click.option("--precision", default="auto", show_default=True)
@out_option("seams")
def main(
    card: Path,
    path: Path | None,
    size_px: int,
    seed: int,
    halos_px: tuple[int, ...],
    corners: int | None,
    out: Path | None,
    **chosen: str,
) -> None:
    """Measure the seams; write seams.json and the table of the README."""
    tune_malloc()
    load_before = load_average()
    segmenter = Segmenter.load(card, device=chosen["device"], precision=chosen["precision"])
    with tempfile.TemporaryDirectory() as folder, progress_bar() as show:
        if path is None:
            path = Path(folder) / f"phantom-{size_px}-seed-{seed}.tif"
            told = partial(show, "phantom slide")
            write_phantom(path, size_px=size_px, seed=seed, version=PHANTOM_VERSION, progress=told)
        with open_slide(path) as slide:
            seams = measure_seams(
                slide, segmenter, halos_px=halos_px or HALOS_PX, corners_each=corners, progress=show
            )
            size = slide.info.size
    conditions = {
        "machine": machine(segmenter.device),
        "model": {"name": segmenter.card.name, "sha256": segmenter.card.weights.sha256},
        "device": segmenter.device,
        "dtype": segmenter.dtype,
        "threads": torch.get_num_threads(),
        "load_before": load_before,
        "slide": {"name": path.name, "width": size.width, "height": size.height},
        "strip_px": STRIP_PX,
        "judge_window_px": TILE_PX + 2 * JUDGE_HALO_PX,
    }
    results = {**conditions, **asdict(seams), "cheapest_halo_px": cheapest(seams.halos)}
    write_results("seams", results, table_of(seams.halos), caption=caption_of(conditions), folder=out)


if __name__ == "__main__":
    main()
