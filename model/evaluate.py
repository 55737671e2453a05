"""Held-out slides through the very road of inference: Segmenter.label_patch, patch by patch."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from wsi.grid import TILE_PX

from .data.cached_slide import CachedSlide
from .data.cohort import SlideWithTruth, geometry_of
from .metrics import ConfusionMatrix
from .segmenter import Segmenter


def evaluate(
    segmenter: Segmenter,
    slides: Sequence[SlideWithTruth],
    cache: Path,
    progress: Callable[[float], None] | None = None,
) -> ConfusionMatrix:
    """Confusion matrix of a model over all pixels with truth; slides are decoded into folder `cache`.

    Raises CohortError and the errors of wsi for slides that cannot be used.
    """
    geometry = geometry_of(segmenter.card.input)
    opened = [CachedSlide.open(pair, geometry, cache) for pair in slides]
    return evaluate_cached(segmenter, opened, progress=progress)


def evaluate_cached(
    segmenter: Segmenter,
    slides: Sequence[CachedSlide],
    *,
    patches_per_slide: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> ConfusionMatrix:
    """As `evaluate`, for slides already open; `patches_per_slide` limits it to some, spread over each
    slide."""
    confusion = ConfusionMatrix(len(segmenter.card.classes))
    chosen = [(slide, index) for slide in slides for index in _patches(slide, patches_per_slide)]
    for done, (slide, index) in enumerate(chosen, start=1):
        _evaluate_patch(segmenter, slide, index, confusion)
        if progress is not None:
            progress(done / len(chosen))
    return confusion


def _patches(slide: CachedSlide, limit: int | None) -> list[int]:
    """Indices of patches with truth, at most `limit`, evenly spread."""
    count = slide.grid.patch_columns * slide.grid.patch_rows
    indices = [k for k in range(count) if slide.read_truth(slide.grid.patch_core(k)).any()]
    if limit is None or limit >= len(indices):
        return indices
    return [indices[int((k + 0.5) * len(indices) / limit)] for k in range(limit)]


def _evaluate_patch(segmenter: Segmenter, slide: CachedSlide, index: int, confusion: ConfusionMatrix) -> None:
    grid = slide.grid
    core = grid.patch_core(index)
    truth = slide.read_truth(core)
    side = range(0, grid.patch_px, TILE_PX)
    corners = [(x, y) for y in side for x in side if truth[y : y + TILE_PX, x : x + TILE_PX].any()]
    labels = segmenter.label_patch(
        slide.read_pixels(core.grown(grid.halo_px)),
        corners,
        window_px=grid.window_px,
        halo_px=grid.halo_px,
        slice_network_px=grid.slice_network_px,
        context_network_px=grid.context_network_px,
    )
    for (x, y), tile in zip(corners, labels, strict=True):
        confusion.feed(np.ascontiguousarray(tile), truth[y : y + TILE_PX, x : x + TILE_PX])
