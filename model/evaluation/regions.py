"""What of a slide is labelled and compared: patches as inference cuts them, or slices as an index plans them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from wsi.geometry import Rect
from wsi.grid import NETWORK_MULTIPLE_PX, TILE_PX

from ..card import CardInput
from ..data.annotated_slide import AnnotatedSlide
from ..data.index import PlannedSlice

MIXED_SHARE = 0.05
"""A patch is mixed when its second most frequent class has at least this share of its pixels with truth."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EvalPatch:
    """A patch of one slide and the squares in it that are labelled. All in label px."""

    slide: int
    """Index into the slides it was planned for."""
    patch: Rect
    """The patch's core; may stick out of the slide, as the region may."""
    region: Rect
    """The patch with its margin: what the network sees as context."""
    squares: tuple[Rect, ...]
    """Equally large; what is labelled and compared: tiles of the patch, or planned slices."""
    halo_px: int
    """Margin that the network sees around each square, inside the region."""
    counts: tuple[int, ...]
    """Pixels of each class in the patch's truth."""
    planned: bool
    """Whether the squares are slices that an index planned."""

    @property
    def mixed(self) -> bool:
        """Whether the patch holds more than one class (MIXED_SHARE)."""
        second = sorted(self.counts)[-2] if len(self.counts) > 1 else 0
        return second >= MIXED_SHARE * sum(self.counts) and second > 0

    @property
    def window_px(self) -> int:
        """Side of what the network sees of a square."""
        return self.squares[0].width + 2 * self.halo_px

    @property
    def corners(self) -> list[tuple[int, int]]:
        """(x, y) of each square's window in the region."""
        return [
            (square.x - self.halo_px - self.region.x, square.y - self.halo_px - self.region.y)
            for square in self.squares
        ]


def network_sides(slide: AnnotatedSlide, place: EvalPatch, card_input: CardInput) -> tuple[int, int]:
    """Sides of slice and context that the network is fed with; for a patch of the grid they are the grid's own."""
    grid = slide.grid
    scale = 1.0 if grid.exact else grid.label_mpp / card_input.mpp
    sides = (place.window_px * scale, place.region.width * scale / card_input.context_ratio)
    slice_px, context_px = (max(1, round(side / NETWORK_MULTIPLE_PX)) * NETWORK_MULTIPLE_PX for side in sides)
    return slice_px, context_px


def all_places(
    slides: Sequence[AnnotatedSlide],
    planned: Sequence[PlannedSlice],
    classes: int,
    *,
    patches_per_slide: int | None = None,
) -> list[EvalPatch]:
    """The planned slices where there are some, else every patch with truth."""
    if planned:
        return slice_places(slides, planned, classes, patches_per_slide=patches_per_slide)
    return patch_places(slides, classes, patches_per_slide=patches_per_slide)


def patch_places(
    slides: Sequence[AnnotatedSlide], classes: int, *, patches_per_slide: int | None = None
) -> list[EvalPatch]:
    """Every patch with truth, and of it the tiles with truth; at most so many of a slide, evenly spread."""
    places = []
    for number, slide in enumerate(slides):
        patches = range(slide.grid.patch_columns * slide.grid.patch_rows)
        found = (_patch_place(slide, number, index, classes) for index in patches)
        places += spread([place for place in found if place is not None], patches_per_slide)
    return places


def slice_places(
    slides: Sequence[AnnotatedSlide],
    slices: Sequence[PlannedSlice],
    classes: int,
    *,
    patches_per_slide: int | None = None,
) -> list[EvalPatch]:
    """Planned slices, those of one patch together; of at most so many patches of a slide, evenly spread.

    As in the paper a slice is seen without a margin. Its context is the region that inference reads for the patch, halo
    included: what the network has been trained on.
    """
    groups: dict[tuple[int, Rect, int], list[Rect]] = {}
    for planned in slices:
        groups.setdefault((planned.slide, planned.patch, planned.square.width), []).append(planned.square)
    places = []
    for number, slide in enumerate(slides):
        own = [(patch, squares) for (of, patch, _), squares in groups.items() if of == number]
        places += [
            EvalPatch(
                slide=number,
                patch=patch,
                region=patch.grown(slide.grid.halo_px),
                squares=tuple(squares),
                halo_px=0,
                counts=_counts(slide.read_truth(patch), classes),
                planned=True,
            )
            for patch, squares in spread(own, patches_per_slide)
        ]
    return places


def spread(items: list[T], limit: int | None) -> list[T]:
    """At most `limit` of them, evenly spread."""
    if limit is None or limit >= len(items):
        return items
    return [items[int((k + 0.5) * len(items) / limit)] for k in range(limit)]


def _patch_place(slide: AnnotatedSlide, number: int, index: int, classes: int) -> EvalPatch | None:
    grid = slide.grid
    core = grid.patch_core(index)
    truth = slide.read_truth(core)
    squares = tuple(
        Rect(core.x + x, core.y + y, TILE_PX, TILE_PX)
        for y in range(0, grid.patch_px, TILE_PX)
        for x in range(0, grid.patch_px, TILE_PX)
        if truth[y : y + TILE_PX, x : x + TILE_PX].any()
    )
    if not squares:
        return None
    return EvalPatch(
        slide=number,
        patch=core,
        region=core.grown(grid.halo_px),
        squares=squares,
        halo_px=grid.halo_px,
        counts=_counts(truth, classes),
        planned=False,
    )


def _counts(truth: NDArray[np.uint8], classes: int) -> tuple[int, ...]:
    return tuple(int(count) for count in np.bincount(truth.ravel(), minlength=classes + 1)[1 : classes + 1])
