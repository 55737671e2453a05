"""Choose the patches of annotated slides to evaluate: the inference grid's, or those of planned slices."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from wsi.geometry import Rect
from wsi.grid import TILE_PX
from wsi.patch_view import PatchView

from ..data.annotated_slide import AnnotatedSlide
from ..data.index import PlannedSlice
from ..data.slices import draw_balanced

MIXED_SHARE = 0.05
"""A patch is mixed when its second most frequent class has at least this share of its pixels with truth."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EvalPatch:
    """A patch of one slide, cut as inference cuts it, and what its truth holds."""

    slide: int
    """Index into the slides it was planned for."""
    core: Rect
    """The patch without margin, label px; may stick out of the slide, as its region may."""
    view: PatchView
    """Its slices are what is labelled and compared: those of the patch's grid, or planned ones."""
    counts: tuple[int, ...]
    """Pixels of each class in the patch's truth."""
    planned: bool
    """Whether the slices are those that an index planned."""

    @property
    def mixed(self) -> bool:
        """Whether the patch holds more than one class (MIXED_SHARE)."""
        second = sorted(self.counts)[-2] if len(self.counts) > 1 else 0
        return second >= MIXED_SHARE * sum(self.counts) and second > 0


def all_patches(
    slides: Sequence[AnnotatedSlide],
    planned: Sequence[PlannedSlice],
    classes: int,
    *,
    patches_per_slide: int | None = None,
) -> list[EvalPatch]:
    """Return the planned slices where there are some, else every patch with truth."""
    if planned:
        return planned_patches(slides, planned, classes, patches_per_slide=patches_per_slide)
    return grid_patches(slides, classes, patches_per_slide=patches_per_slide)


def grid_patches(
    slides: Sequence[AnnotatedSlide], classes: int, *, patches_per_slide: int | None = None
) -> list[EvalPatch]:
    """Return every patch with truth, cut to its slices with truth; at most `patches_per_slide` of a slide."""
    patches = []
    for number, slide in enumerate(slides):
        indices = range(slide.grid.patch_columns * slide.grid.patch_rows)
        found = (_grid_patch(slide, number, index, classes) for index in indices)
        patches += spread([patch for patch in found if patch is not None], patches_per_slide)
    return patches


def planned_patches(
    slides: Sequence[AnnotatedSlide],
    slices: Sequence[PlannedSlice],
    classes: int,
    *,
    patches_per_slide: int | None = None,
) -> list[EvalPatch]:
    """Return planned slices, those of one patch together; of at most `patches_per_slide` patches of a slide.

    As in the paper a slice is seen without a margin. Its context is the region that inference reads for the
    patch, halo included: what the network has been trained on.
    """
    groups: dict[tuple[int, Rect, int], list[Rect]] = {}
    for planned in slices:
        groups.setdefault((planned.slide, planned.patch, planned.rect.width), []).append(planned.rect)
    found = []
    for number, slide in enumerate(slides):
        own = [(patch, rects) for (of, patch, _), rects in groups.items() if of == number]
        found += [
            EvalPatch(
                slide=number,
                core=patch,
                view=slide.grid.cut(
                    patch, [(one.x, one.y) for one in rects], halo_px=0, slice_px=rects[0].width
                ),
                # What sticks out of the slide has no truth; of a small image that is most of a patch.
                counts=_counts(slide.read_truth(patch.intersect(Rect.of(slide.grid.label_size))), classes),
                planned=True,
            )
            for patch, rects in spread(own, patches_per_slide)
        ]
    return found


def balanced_patches(patches: Sequence[EvalPatch], limit: int, *, seed: int = 0) -> list[EvalPatch]:
    """Return at most `limit` of the patches, drawn so that every class is in as many of them, or nearly.

    A patch holds a class that has MIXED_SHARE of its pixels with truth. The order of the patches is kept.
    """
    if limit >= len(patches):
        return list(patches)
    counts = np.array([patch.counts for patch in patches])
    holds = counts >= MIXED_SHARE * counts.sum(axis=1, keepdims=True)
    drawn = draw_balanced(holds & (counts > 0), limit, np.random.default_rng(seed))
    return [patches[number] for number in drawn]


def spread(items: list[T], limit: int | None) -> list[T]:
    """Return at most `limit` of the items, evenly spread."""
    if limit is None or limit >= len(items):
        return items
    return [items[int((k + 0.5) * len(items) / limit)] for k in range(limit)]


def _grid_patch(slide: AnnotatedSlide, number: int, index: int, classes: int) -> EvalPatch | None:
    grid = slide.grid
    core = grid.patch_core(index)
    truth = slide.read_truth(core)
    steps = range(grid.slices_per_side)
    with_truth = [
        (x, y)
        for y in steps
        for x in steps
        if truth[y * TILE_PX : (y + 1) * TILE_PX, x * TILE_PX : (x + 1) * TILE_PX].any()
    ]
    if not with_truth:
        return None
    return EvalPatch(
        slide=number,
        core=core,
        view=grid.patch_view(index, with_truth),
        counts=_counts(truth, classes),
        planned=False,
    )


def _counts(truth: NDArray[np.uint8], classes: int) -> tuple[int, ...]:
    return tuple(int(count) for count in np.bincount(truth.ravel(), minlength=classes + 1)[1 : classes + 1])
