"""Measure colours and sharpness of a slide's tissue on a few samples.

Both are crude on purpose: they tell another stain, another kind of microscopy or a slide out of focus from
what a model may be used on, not a good slide from a better one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .geometry import Rect
from .grid import TILE_PX, Grid
from .plan import Plan
from .reading.slide import Slide
from .tissue import TissueMask

SAMPLES = 12
"""Slices looked at, evenly spread over those with tissue."""

SAMPLE_PX = 256
"""Side of what is read in the middle of each, label px."""

STAINED_OD = 0.1
"""Optical density, in the most absorbed colour, from which on a pixel counts as stained."""

_MIN_PIXELS = 500
_GLASS = 245.0
_FINE, _COARSE = 1, 4
"""Radii of the box blurs between which fine and coarse detail lie, label px."""


@dataclass(frozen=True, slots=True)
class Appearance:
    """Appearance of a slide's tissue at label px."""

    optical_density: tuple[float, float, float]
    """Mean over stained pixels of -log10(value / glass), for red, green and blue."""
    sharpness: float
    """Median over samples of the contrast of detail below 3 px over that of 3 to 9 px, in green."""


def tissue_appearance(slide: Slide, plan: Plan, tissue: TissueMask) -> Appearance | None:
    """Return how the tissue of a slide looks; None if the samples hold next to none.

    A pure function of slide, plan and mask. Reads at most 12 squares of 256 label px.

    Raises:
        SlideUnreadableError: a sample cannot be decoded.
    """
    densities: list[NDArray[np.float64]] = []
    sharpness: list[float] = []
    for rect in _samples(plan):
        grid = plan.grid
        pixels = slide.read_region(rect.scaled(grid.downsample), grid.downsample)
        density = np.maximum(-np.log10((pixels.astype(np.float32) + 1) / (_GLASS + 1)), 0)
        stained = tissue.crop(rect, grid) & (density.max(axis=2) > STAINED_OD)
        if np.count_nonzero(stained) >= _MIN_PIXELS:
            densities.append(density[stained].mean(axis=0, dtype=np.float64))
            sharpness.append(_sharpness(pixels[:, :, 1], stained))
    if not densities:
        return None
    red, green, blue = (float(mean) for mean in np.mean(densities, axis=0))
    return Appearance((red, green, blue), float(np.median(sharpness)))


def _samples(plan: Plan) -> Sequence[Rect]:
    """Return the middle of some slices of the plan, label px, within the label map."""
    slices = [
        _slice_rect(plan.grid, patch.index, column, row)
        for patch in plan.patches
        for column, row in patch.slices
    ]
    chosen = np.unique(np.linspace(0, len(slices) - 1, min(SAMPLES, len(slices))).round().astype(int))
    margin = (TILE_PX - SAMPLE_PX) // 2
    whole = Rect.of(plan.grid.label_size)
    middles = (slices[index].grown(-margin).intersect(whole) for index in chosen)
    return [rect for rect in middles if min(rect.width, rect.height) > 4 * _COARSE]


def _slice_rect(grid: Grid, patch: int, column: int, row: int) -> Rect:
    core = grid.patch_core(patch)
    return Rect(core.x + column * TILE_PX, core.y + row * TILE_PX, TILE_PX, TILE_PX)


def _sharpness(channel: NDArray[np.uint8], where: NDArray[np.bool_]) -> float:
    """Return the contrast of fine over that of coarser detail, on pixels of `where` off the edges."""
    values = channel.astype(np.float64)
    fine, coarse = _box_blur(values, _FINE), _box_blur(values, _COARSE)
    inner = (slice(_COARSE, -_COARSE), slice(_COARSE, -_COARSE))
    kept = where[inner]
    if not kept.any():
        return 1.0
    detail, shape = (values - fine)[inner][kept].std(), (fine - coarse)[inner][kept].std()
    return float(detail / max(shape, 0.5))


def _box_blur(values: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """Return the mean over squares of 2 * radius + 1; edges are repeated."""
    side = 2 * radius + 1
    sums = np.pad(values, radius, mode="edge")
    for axis in (0, 1):
        running = np.cumsum(sums, axis=axis)
        running = np.concatenate([np.zeros_like(running.take([0], axis)), running], axis=axis)
        sums = running.take(range(side, running.shape[axis]), axis) - running.take(
            range(running.shape[axis] - side), axis
        )
    blurred: NDArray[np.float64] = sums / side**2
    return blurred
