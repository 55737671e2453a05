"""Prepare phantom slides with truth for an index, in place of the BACH slides."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from wsi.geometry import Rect
from wsi.grid import make_grid
from wsi.phantom import LATEST, PHANTOM_PALETTE, Version, write_phantom
from wsi.reading.slide import open_slide
from wsi.tissue import TissueMask

from .prepared import PreparedSlide, PreparedSlides, Progress, unheard
from .slices import PAPER_INPUT
from .splits import SlideWithTruth

PHANTOM_CLASSES = PHANTOM_PALETTE.classes

NORMAL = 1
"""Value of the class normal, which most of the tissue has."""

HELD_OUT_PX = 20_480
"""Side of a held-out slide in l0 px: large enough to hold all four classes, about in balance."""

_STEMS: dict[Version, str] = {1: "phantom", 2: "phantom-v2"}

SET_SEEDS = {"train": 0, "validation": 500_000, "test": 700_000}
"""Offset of the seeds of each set: no slide is trained on in one cohort and tested in another."""


def prepare_phantoms(
    folder: Path,
    *,
    train: int,
    validation: int,
    test: int,
    size_px: int,
    held_out_px: int = HELD_OUT_PX,
    seed: int,
    version: Version = LATEST,
    progress: Progress = unheard,
) -> PreparedSlides:
    """Make phantom slides and their truths in `folder`/slides; keep those that are there already.

    `train`, `validation` and `test` are numbers of slides. Training slides are `size_px` square, the others
    `held_out_px`. Slides get the seeds `seed`, `seed` + 1, ... within their set. Their truths lie on the
    label grid of PAPER_INPUT's mpp. Slides of different versions of the phantom have different names.
    """
    slides = folder / "slides"
    slides.mkdir(parents=True, exist_ok=True)

    def made(name: str, count: int, side_px: int) -> tuple[PreparedSlide, ...]:
        seeds = range(SET_SEEDS[name] + seed, SET_SEEDS[name] + seed + count)
        return tuple(_prepared(slides, side_px, number, version, progress) for number in seeds)

    return PreparedSlides(
        train=made("train", train, size_px),
        validation=made("validation", validation, held_out_px),
        test=made("test", test, held_out_px),
    )


def _prepared(folder: Path, side_px: int, seed: int, version: Version, progress: Progress) -> PreparedSlide:
    started = time.perf_counter()
    name = f"{_STEMS[version]}-{side_px}-{seed}"
    pair = _written(folder / f"{name}.tif", side_px, seed, version, partial(progress, name))
    with open_slide(pair.slide) as slide:
        assert slide.info.mpp is not None, "a phantom says its mpp"
        grid = make_grid(slide.info.size, slide.info.mpp.value, PAPER_INPUT)
    # Its truth knows what is glass.
    tissue = TissueMask.everywhere(grid, Rect.of(grid.slide))
    return PreparedSlide.of(pair, grid, tissue, PHANTOM_CLASSES, background=NORMAL, started=started)


def _written(
    out: Path, side_px: int, seed: int, version: Version, report: Callable[[float], None]
) -> SlideWithTruth:
    # The overlay is the last of the three files to be renamed into place: where it is, the others are whole.
    if not out.with_name(f"{out.stem}-truth-overlay.tif").exists():
        write_phantom(out, size_px=side_px, seed=seed, version=version, progress=report)
    return SlideWithTruth(out, out.with_name(f"{out.stem}-truth.tif"))
