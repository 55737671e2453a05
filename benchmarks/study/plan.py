"""Plan of a study: budget and slides that all runs share."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.data.index import SlideIndex
from model.data.phantom import PHANTOM_CLASSES, prepare_phantoms
from model.data.slices import Quota
from model.training.from_scratch_recipe import PHANTOM_INPUT
from wsi.phantom import Version

VALIDATION_SLICES = 64
"""Slices of the validation set, on which the temperature of each card is fitted."""

SEED = 1
"""Seed of the slides; the same for every run."""

TOLERANCE = 1e-3
"""Fraction of a slide's pixels whose class may differ between machines.

Their arithmetic differs in the last digits.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """Numbers of a study. Runs of different plans are not compared."""

    network: str = "small"
    """Key of rows.SIZES."""
    steps: int = 1280
    """Steps of each network that sees a context, those on contexts alone included; one that sees none takes
    fewer and as much time (from_scratch_recipe)."""
    zoomed_steps: int = 480
    """Steps before them, on slices zoomed out; they teach the encoder of slices that all rows start from."""
    phantom: Version = 2
    """Version of the phantom."""
    train_slides: int = 24
    train_px: int = 12_288
    validation_slides: int = 2
    test_slides: int = 12
    """Slides are what is resampled for intervals: pixels and slices of one slide are alike."""
    test_px: int = 10_240
    """Side of the validation and test slides: two patches exactly."""
    test_slices: int = 480
    """Drawn from all patches of all test slides, as the paper draws its own."""


def prepare(
    plan: Plan, work: Path, progress: Callable[[str, float], None]
) -> tuple[SlideIndex, dict[str, Any]]:
    """Make the slides in `work`/slides that are not there; return their index and facts.

    Training, validation and test share no slide. The facts tell one cohort from another: they hold the pixels
    of each value 0..K by set and slide, and how many test slices there are and which.

    Raises:
        CohortError: when the slides do not make up the sets.
        WsiError: when a slide cannot be made or read.
    """
    prepared = prepare_phantoms(
        work,
        train=plan.train_slides,
        validation=plan.validation_slides,
        test=plan.test_slides,
        size_px=plan.train_px,
        held_out_px=plan.test_px,
        seed=SEED,
        version=plan.phantom,
        progress=progress,
    )
    quotas = {"validation": Quota(VALIDATION_SLICES, None), "test": Quota(plan.test_slices, None)}
    index = prepared.index("phantom", PHANTOM_CLASSES, PHANTOM_INPUT, quotas, seed=SEED)
    pixels = {
        name: {slide.pair.slide.name: list(slide.pixels) for slide in slides}
        for name, slides in prepared.sets().items()
    }
    rects = [(one.slide, one.rect.x, one.rect.y, one.patch.x, one.patch.y) for one in index.test]
    facts = {
        "pixels": pixels,
        "test_slices": len(rects),
        "test_slices_sha256": hashlib.sha256(json.dumps(rects).encode()).hexdigest(),
    }
    return index, facts


def same_cohort(facts: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    """Return whether the facts of two cohorts are the same, up to TOLERANCE."""
    if facts["test_slices_sha256"] != others["test_slices_sha256"]:
        return False
    own, its = (
        {(name, slide): counts for name, slides in one["pixels"].items() for slide, counts in slides.items()}
        for one in (facts, others)
    )
    return own.keys() == its.keys() and all(
        sum(abs(a - b) for a, b in zip(own[key], its[key], strict=True)) <= 2 * TOLERANCE * sum(own[key])
        for key in own
    )
