"""A cohort of phantom slides, made on the spot: slides to train on and slides held out, none alike."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from wsi.phantom import write_phantom

from .cohort import Cohort, SlideWithTruth

HELD_OUT_PX = 20_480
"""Side of a held-out slide: large enough to hold all four classes, about in balance."""

HELD_OUT_SEEDS = 500_000
"""Added to a held-out slide's number, so that no slide of any cohort is trained on in one and examined in
another."""


def phantom_cohort(
    folder: Path,
    *,
    train: int,
    held_out: int,
    size_px: int,
    progress: Callable[[int, int], None] | None = None,
) -> Cohort:
    """Make `train` slides of `size_px` square and `held_out` of HELD_OUT_PX in `folder`; those already there are kept.

    Seeds are 1, 2, ... for training and 500001, 500002, ... held out. `progress` gets slides done and slides in all.
    """
    slides = [(seed, size_px) for seed in range(1, train + 1)]
    slides += [(HELD_OUT_SEEDS + i, HELD_OUT_PX) for i in range(1, held_out + 1)]
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for done, (seed, side_px) in enumerate(slides):
        if progress is not None:
            progress(done, len(slides))
        pairs.append(_slide(folder, seed, side_px))
    return Cohort(tuple(pairs[:train]), tuple(pairs[train:]))


def _slide(folder: Path, seed: int, size_px: int) -> SlideWithTruth:
    name = f"phantom-{size_px}-{seed}"
    final = folder / name
    if not final.is_dir():
        # The folder appears under its name only when both files are whole: an interrupted run makes them again.
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder) as unfinished:
            write_phantom(Path(unfinished, name, f"{name}.tif"), size_px=size_px, seed=seed)
            Path(unfinished, name).rename(final)
    return SlideWithTruth(final / f"{name}.tif", final / f"{name}-truth.tif")
