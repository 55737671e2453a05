"""Sample training patches: at random with the classes in balance, or the slices that an index plans."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wsi.geometry import Rect
from wsi.palette import LabelClass
from wsi.patch_view import PatchView

from ..errors import CohortError
from .annotated_slide import AnnotatedSlide
from .batch import BatchSpec
from .index import PlannedSlice

CELL_PX = 16
"""Side of the cells in whose middle classes are looked up, label px."""

EDGE_SHARE = 8
"""Slices of an image smaller than a patch stick out of it by at most 1 / EDGE_SHARE of their side: the
network sees edges of images, and most of its time goes into pixels that have truth."""


@dataclass(frozen=True, slots=True)
class IndexedSlide:
    """Slide with its truth on a coarse grid, to find pixels of a class."""

    slide: AnnotatedSlide
    cells: NDArray[np.uint8]
    """Truth in the middle of each cell of CELL_PX (`AnnotatedSlide.truth_cells`)."""


@dataclass(frozen=True, slots=True)
class PatchSample:
    """Patch to read from a slide; without halo, its region is the context."""

    slide: IndexedSlide
    view: PatchView


class PatchSampler(Protocol):
    """Strategy that chooses the patches of training batches."""

    def draw(self, rng: np.random.Generator, number: int, spec: BatchSpec, /) -> PatchSample:
        """Choose patch `number` (0, 1, ...) of the batches of `spec`; all chance comes from `rng`."""


def index_slides(slides: Sequence[AnnotatedSlide], classes: Sequence[LabelClass]) -> list[IndexedSlide]:
    """Look up the classes of slides; memory: 1 / 256 byte a label px.

    Raises:
        CohortError: None has truth, a value is no class, or a slide is not at the model's scale.
    """
    indexed = [IndexedSlide(slide, slide.truth_cells(CELL_PX)) for slide in slides]
    for one in indexed:
        _check(one, classes)
    if not any(one.cells.any() for one in indexed):
        raise CohortError("no slide to train on has truth; annotate some, and make the index again")
    return indexed


def absent_classes(slides: Sequence[IndexedSlide], classes: Sequence[LabelClass]) -> list[LabelClass]:
    """Return the classes of which no slide has a pixel."""
    present = set().union(*(np.unique(one.cells).tolist() for one in slides))
    return [entry for entry in classes if entry.value not in present]


def _check(indexed: IndexedSlide, classes: Sequence[LabelClass]) -> None:
    slide = indexed.slide
    if not slide.grid.exact:
        raise CohortError(
            f"{slide.name} has {slide.grid.label_mpp:g} um a label px, over 10 % off the model's scale; "
            "training reads slides as they are. Leave it out, or set input.mpp to fit the slides."
        )
    if (most := int(indexed.cells.max(initial=0))) > len(classes):
        names = ", ".join(f"{entry.value} {entry.name}" for entry in classes)
        raise CohortError(f"the truth of {slide.name} has value {most}; the card has the classes {names}")


class RandomPatchSampler:
    """Random patches, every class that the slides have equally often, whatever its area.

    Patches lie anywhere an inference patch could reach, so their edges, glass and the slide's outside are
    seen in training as they are later.
    """

    def __init__(self, slides: Sequence[IndexedSlide], classes: int) -> None:
        cells = [
            [(slide, found) for slide in slides if (found := np.flatnonzero(slide.cells == k + 1)).size]
            for k in range(classes)
        ]
        self._cells = [holders for holders in cells if holders]

    def draw(self, rng: np.random.Generator, _number: int, spec: BatchSpec, /) -> PatchSample:
        """Choose a random patch (see PatchSampler).

        Raises:
            CohortError: Slices of `spec` are larger than the patch.
        """
        holders = self._cells[rng.integers(len(self._cells))]
        indexed, found = holders[rng.integers(len(holders))]
        scale = rng.uniform(*spec.scales)
        slice_px, region_px = round(spec.slice_px / scale), round(indexed.slide.grid.region_px / scale)
        if slice_px > region_px:
            raise CohortError(f"slice_px={spec.slice_px} is larger than the patch region of {region_px} px")
        row, column = divmod(int(found[rng.integers(found.size)]), indexed.cells.shape[1])
        wanted = _middle_px(column), _middle_px(row)
        region, first = _region_around(rng, indexed, wanted, slice_px, region_px)
        if indexed.slide.grid.context == "centred":
            region = _centred_on(rng, first, region)
        others = (_slice_in(rng, indexed, region, slice_px) for _ in range(spec.slices - 1))
        return _sample(indexed, region, [first, *others][: spec.slices], slice_px, spec)


class PlannedPatchSampler:
    """Slices of an index, each with its patch, all of them once an epoch in random order."""

    def __init__(self, slides: Sequence[IndexedSlide], planned: Sequence[PlannedSlice], seed: int) -> None:
        self._slides = slides
        self._planned = planned
        self._seed = seed

    def draw(self, rng: np.random.Generator, number: int, spec: BatchSpec, /) -> PatchSample:
        """Choose the next planned slice (see PatchSampler).

        A patch has this one slice, whatever `spec.slices` says (none at 0). It is scaled about the planned
        one, or cropped from it.
        """
        epoch, position = divmod(number, len(self._planned))
        order = np.random.default_rng((self._seed, epoch)).permutation(len(self._planned))
        planned = self._planned[order[position]]
        indexed = self._slides[planned.slide]
        scale = rng.uniform(*spec.scales)
        side, spare = round(spec.slice_px / scale), round(spec.slice_px / scale) - planned.rect.width
        x, y = (
            start - int(rng.integers(min(0, spare), max(0, spare) + 1))
            for start in (planned.rect.x, planned.rect.y)
        )
        region_px = round(indexed.slide.grid.region_px / scale)
        region = planned.patch.grown(indexed.slide.grid.halo_px)
        region = region.grown((region_px - region.width) // 2)
        drawn = Rect(x, y, side, side)
        if indexed.slide.grid.context == "centred":
            region = _centred_on(rng, drawn, region)
        return _sample(indexed, region, [drawn] if spec.slices else [], side, spec)


def _sample(
    indexed: IndexedSlide, region: Rect, slices: Sequence[Rect], slice_px: int, spec: BatchSpec
) -> PatchSample:
    view = PatchView(
        region=region,
        context=region,
        corners=tuple((one.x, one.y) for one in slices),
        slice_px=slice_px,
        halo_px=0,
        slice_network_px=spec.slice_px,
        context_network_px=indexed.slide.grid.context_network_px,
    )
    return PatchSample(indexed, view)


def _middle_px(cell: int) -> int:
    """Return the label px, on one axis, at which the class of a cell was looked up."""
    return cell * CELL_PX + CELL_PX // 2


def _region_around(
    rng: np.random.Generator, indexed: IndexedSlide, wanted: tuple[int, int], slice_px: int, region_px: int
) -> tuple[Rect, Rect]:
    """Draw a random patch region and a slice in it that holds the label px `wanted` (x, y)."""
    size = indexed.slide.grid.label_size
    corners = []
    for at, length in zip(wanted, (size.width, size.height), strict=True):
        edge = -indexed.slide.grid.halo_px  # inference patches start here
        low, high = max(edge, at - slice_px + 1), at
        if length < region_px:
            least, most = _starts_within(length, slice_px)
            low, high = max(low, least), min(high, most)
        start = int(rng.integers(low, high + 1))
        corners.append((int(rng.integers(max(edge, start + slice_px - region_px), start + 1)), start))
    (region_x, x), (region_y, y) = corners
    return Rect(region_x, region_y, region_px, region_px), Rect(x, y, slice_px, slice_px)


def _starts_within(length: int, slice_px: int) -> tuple[int, int]:
    """Return the least and greatest start, on one axis, of slices of an image of `length` px.

    They stick out by at most EDGE_SHARE; those that are larger than the image hold all of it, or stick out by
    that of it.
    """
    slack = slice_px // EDGE_SHARE
    low, high = sorted((0, length - slice_px))
    return low - slack, high + slack


def _centred_on(rng: np.random.Generator, drawn: Rect, region: Rect) -> Rect:
    """Centre a context region on a slice as inference does, then jitter it by up to half a slice.

    The jitter keeps the network from reading the class off the very middle of its context.
    """
    to_x, to_y = (region.width - drawn.width) // 2, (region.height - drawn.height) // 2
    reach = drawn.width // 2
    jitter_x, jitter_y = rng.integers(-reach, reach + 1, 2).tolist()
    return Rect(drawn.x - to_x + jitter_x, drawn.y - to_y + jitter_y, region.width, region.height)


def _slice_in(rng: np.random.Generator, indexed: IndexedSlide, region: Rect, slice_px: int) -> Rect:
    """Draw a random slice inside the region that holds a pixel of a random class of those in the region."""
    (top, bottom), (left, right) = (
        (max(0, _first_cell(start)), max(0, _first_cell(stop)))
        for start, stop in ((region.y, region.bottom), (region.x, region.right))
    )
    cells = indexed.cells[top:bottom, left:right]
    present = np.unique(cells[cells > 0])
    if not present.size:  # a region whose only truth fell between the cells
        return Rect(region.x, region.y, slice_px, slice_px)
    found = np.flatnonzero(cells == present[rng.integers(present.size)])
    row, column = divmod(int(found[rng.integers(found.size)]), cells.shape[1])
    x, y = (
        int(rng.integers(max(low, at - slice_px + 1), min(at, high - slice_px) + 1))
        for low, at, high in (
            (region.x, _middle_px(left + column), region.right),
            (region.y, _middle_px(top + row), region.bottom),
        )
    )
    return Rect(x, y, slice_px, slice_px)


def _first_cell(start_px: int) -> int:
    """Return the first cell, on one axis, whose middle is at `start_px` or beyond."""
    return -(-(start_px - CELL_PX // 2) // CELL_PX)
