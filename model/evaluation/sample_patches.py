"""Choose patches of slides to quantise a network with, and others to check it on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from wsi.errors import MppUnknownError
from wsi.geometry import Rect
from wsi.grid import make_grid
from wsi.plan import Patch, Plan, make_plan
from wsi.reading.patch_pixels import read_patch
from wsi.reading.slide import Slide, open_slide
from wsi.tissue import TissueMask, find_tissue

from ..card import ModelCard
from ..errors import CohortError
from ..inference.quantise import SamplePatch
from .regions import spread

SLICES_A_PATCH = 5
"""Slices with tissue that are taken of a patch, evenly spread."""


def sample_patches(
    slides: Sequence[Path], card: ModelCard, *, patches: int, mpp: float | None = None
) -> tuple[list[SamplePatch], list[SamplePatch]]:
    """Return patches of slides to calibrate with, and as many others to check on, evenly spread over tissue.

    The same slides give the same patches. Memory: the regions of all, some 22 MB each.

    Args:
        slides: Slides that are like those to come.
        card: Card of the network.
        patches: The most patches for either.
        mpp: Micrometres per level-0 pixel; None: what each slide says.

    Raises:
        CohortError: The slides have less than two patches of tissue together.
        WsiError: A slide cannot be read, or its mpp is unknown or too coarse.
    """
    share = -(-2 * patches // len(slides))
    found = [own for path in slides for own in _patches_of(path, card, share, mpp)]
    if len(found) < 2:
        raise CohortError(
            f"the slides have {len(found)} patches of tissue, and two are the least: one to quantise with, "
            "one to check on. Give more slides, or larger ones."
        )
    chosen = spread(found, 2 * patches)
    return chosen[::2], chosen[1::2]


def _patches_of(path: Path, card: ModelCard, count: int, mpp: float | None) -> list[SamplePatch]:
    """Read at most `count` patches of a slide."""
    with open_slide(path, mpp=mpp) as slide:
        if slide.info.mpp is None:
            raise MppUnknownError(path.name)
        grid = make_grid(slide.info.size, slide.info.mpp.value, card.input)
        tissue = find_tissue(slide, grid)
        plan = make_plan(grid, tissue)
        return [_read(slide, plan, tissue, patch) for patch in spread(list(plan.patches), count)]


def _read(slide: Slide, plan: Plan, tissue: TissueMask, patch: Patch) -> SamplePatch:
    """Read some slices of a patch with tissue."""
    view = plan.view(replace(patch, slices=tuple(spread(list(patch.slices), SLICES_A_PATCH))))
    pixels = read_patch(slide, view, plan.grid.downsample)
    masks = [tissue.crop(Rect(x, y, view.slice_px, view.slice_px), plan.grid) for x, y in view.corners]
    return SamplePatch(pixels.region, view, pixels.context, np.stack(masks))
