"""Cases: a network on a slide, and all of them run on it in turns."""

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.cards import write_card
from benchmarks.tables import DEMO_CARD
from model.card import ModelCard
from workers.bench.measure import machine
from wsi.grid import TILE_PX, make_grid
from wsi.phantom import write_phantom
from wsi.reading.slide import open_slide

from .entrants import entrants, run_entrant
from .report import Seen, summary
from .task import Task

SEED = 11
STAND_IN, DEMO, RESNET50 = "stand-in", "demo", "resnet50"
SIZES_PX: Mapping[str, int] = MappingProxyType({STAND_IN: 10_240, DEMO: 10_240, RESNET50: 5_120})
"""Network -> side of its slides, level-0 px: 2 x 2 patches; one for the paper's ResNet-50, which takes seconds a slice."""

Show = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Case:
    """A network on a phantom slide."""

    network: str
    size_px: int
    tissue_fraction: float


@dataclass(frozen=True, slots=True)
class Setting:
    """How all cases are run."""

    work: Path
    """Slides stay here."""
    threads: int
    repeats: int
    tiatoolbox_python: Path | None
    load_before: float | None
    """Load average before anything was started."""


def run_case(case: Case, setting: Setting, show: Show) -> dict[str, Any]:
    """Run all in turns, `repeats` times, and sum up."""
    card = card_for(case.network, setting.work)
    slide = slide_of(case, setting.work, show)
    who_runs = entrants(setting.tiatoolbox_python)
    seen = {who: Seen() for who in who_runs}
    name = f"{case.network} on {case.tissue_fraction:.0%} tissue"
    with tempfile.TemporaryDirectory(dir=setting.work) as folder:
        task = task_of(case, setting, card, slide, Path(folder))
        for repeat in range(setting.repeats):
            for place, who in enumerate(who_runs):
                show(name, (repeat * len(who_runs) + place) / (setting.repeats * len(who_runs)))
                own = replace(task, folder=str(Path(folder) / f"{repeat}-{place}"))
                seen[who].add(run_entrant(who, own, setting.tiatoolbox_python))
    show(name, 1.0)
    model = ModelCard.load(card)
    return {
        "network": case.network,
        "size_px": case.size_px,
        "tissue_fraction": case.tissue_fraction,
        "model": {"name": model.name, "sha256": model.weights.sha256},
        "machine": machine(),
        "load_before": setting.load_before,
        "threads": setting.threads,
        "repeats": setting.repeats,
        "command": command_of(case, setting),
        **summary(seen, megapixels=case.size_px**2 / 1e6),
    }


def command_of(case: Case, setting: Setting) -> str:
    """What measures this case alone, as one would type it."""
    python = " --tiatoolbox-python PEERS/bin/python" if setting.tiatoolbox_python else ""
    return (
        f"python -m benchmarks.peers --network {case.network} --size {case.size_px} --tissue {case.tissue_fraction} "
        f"--repeats {setting.repeats} --threads {setting.threads}{python}"
    )


def task_of(case: Case, setting: Setting, card: Path, slide: Path, folder: Path) -> Task:
    """What every process of a case is told; the folder is that of the case."""
    model = ModelCard.load(card)
    with open_slide(slide) as opened:
        mpp = opened.info.mpp
        assert mpp is not None
        grid = make_grid(opened.info.size, mpp.value, model.input)
    return Task(
        slide=str(slide.resolve()),
        card=str(card.resolve()),
        folder=str(folder.resolve()),
        stand_in=case.network == STAND_IN,
        like_peers=False,
        threads=setting.threads,
        downsample=grid.downsample,
        label_mpp=grid.label_mpp,
        slice_px=TILE_PX,
        slices_per_side=grid.slices_per_side,
        context_px=grid.patch_px // model.input.context_ratio,
    )


def slide_of(case: Case, work: Path, show: Show) -> Path:
    """The case's slide, made if it is not there."""
    slide = work / f"phantom-{case.size_px}-{case.tissue_fraction}.tif"
    if not slide.exists():
        write_phantom(
            slide,
            size_px=case.size_px,
            seed=SEED,
            tissue_fraction=case.tissue_fraction,
            progress=lambda share: show(slide.name, share),
        )
    return slide


def card_for(network: str, work: Path) -> Path:
    """The demo card, also where a stand-in takes its network's place; or one of random weights, made if it is not there."""
    if network != RESNET50:
        return DEMO_CARD
    return write_card("resnet50-50-attention", work)


def default_threads() -> int:
    """Every core."""
    return os.cpu_count() or 1
