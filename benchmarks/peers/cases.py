"""Cases: a network on a slide, on which all competitors run in turns."""

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.cards import write_card, write_patch_card
from benchmarks.slides import PHANTOM_VERSION, phantom_slide
from benchmarks.tables import DEMO_CARD
from model.card import ModelCard
from model.evaluation.sample_patches import sample_patches
from model.inference.int8_graph import Int8Files
from model.inference.openvino_runtime import has_openvino
from model.inference.quantise import quantise
from workers.bench.measure import machine
from wsi.grid import TILE_PX, make_grid
from wsi.phantom import write_phantom
from wsi.reading.slide import open_slide

from .competitors import competitors, run_competitor
from .report import Seen, summary
from .task import Task

STAND_IN, DEMO, RESNET50 = "stand-in", "demo", "resnet50"
SIZES_PX: Mapping[str, int] = MappingProxyType({STAND_IN: 10_240, DEMO: 10_240, RESNET50: 5_120})
"""Network -> side of its slides, level-0 px: 2 x 2 patches, but one for the slow ResNet-50 of the paper."""

CALIBRATION_SEED, CALIBRATION_PX, CALIBRATION_PATCHES = 501, 12_288, 1
"""Phantom that int8 is calibrated with, and patches of it."""

Show = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Case:
    """Network on a phantom slide."""

    network: str
    size_px: int
    tissue_fraction: float


@dataclass(frozen=True, slots=True)
class Setting:
    """Settings of all cases."""

    work: Path
    """Folder where slides stay."""
    threads: int
    repeats: int
    tiatoolbox_python: Path | None
    load_before: float | None
    """Load average before anything was started."""


def run_case(case: Case, setting: Setting, show: Show) -> dict[str, Any]:
    """Run all competitors in turns, `repeats` times, and return the figures."""
    card = card_for(case.network, setting.work)
    slide = phantom_slide(setting.work, case.size_px, case.tissue_fraction, show)
    int8 = case.network != STAND_IN and has_openvino() and find_spec("nncf") is not None
    if int8:
        quantise_for(card, setting.work, show)
    who_runs = competitors(setting.tiatoolbox_python, int8=int8)
    seen = {who: Seen() for who in who_runs}
    name = f"{case.network} on {case.tissue_fraction:.0%} tissue"
    with tempfile.TemporaryDirectory(dir=setting.work) as folder:
        task = task_of(case, setting, card, slide, Path(folder))
        for repeat in range(setting.repeats):
            for position, who in enumerate(who_runs):
                show(name, (repeat * len(who_runs) + position) / (setting.repeats * len(who_runs)))
                own = replace(task, folder=str(Path(folder) / f"{repeat}-{position}"))
                seen[who].add(run_competitor(who, own, setting.tiatoolbox_python))
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
    """Return the command line that measures this case alone."""
    python = " --tiatoolbox-python PEERS/bin/python" if setting.tiatoolbox_python else ""
    return (
        f"python -m benchmarks.peers --network {case.network} --size {case.size_px} "
        f"--tissue {case.tissue_fraction} --repeats {setting.repeats} --threads {setting.threads}{python}"
    )


def task_of(case: Case, setting: Setting, card: Path, slide: Path, folder: Path) -> Task:
    """Return the task that every process of a case gets; its folder is that of the case."""
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
        int8_dir=None,
        threads=setting.threads,
        downsample=grid.downsample,
        label_mpp=grid.label_mpp,
        slice_px=TILE_PX,
        slices_per_side=grid.slices_per_side,
        context_px=grid.patch_px // model.input.context_ratio,
    )


def card_for(network: str, work: Path) -> Path:
    """Return the card of a network in `work`: the demo's, also for the stand-in, or one of random weights.

    The context is the patch, which is what the others know.
    """
    if network != RESNET50:
        return write_patch_card(DEMO_CARD, work)
    return write_card("resnet50-50-attention", work)


def quantise_for(card: Path, work: Path, show: Show) -> None:
    """Quantise the network of a card into `work`, where the card lies, with a phantom, if that is not done.

    Labels of random weights mean nothing and are kept all the same: it is for timing.
    """
    model = ModelCard.load(card)
    if Int8Files.of(work, model).read_report() is not None:
        return
    slide = work / "calibration.tif"
    if not slide.exists():
        write_phantom(slide, size_px=CALIBRATION_PX, seed=CALIBRATION_SEED, version=PHANTOM_VERSION)
    calibration, check = sample_patches([slide], model, patches=CALIBRATION_PATCHES)
    quantise(card, calibration, check, work, slides=1, keep_refused=True, step=show)


def default_threads() -> int:
    """Return the number of cores."""
    return os.cpu_count() or 1
