"""Plan the slices to train and evaluate on: the paper's cut, screened so that rare classes are there.

The paper cuts patches of 5000 l0 px at 0.467 um/px into slices of 1000 with a step of 500, 81 a patch. In
label px and whole tiles: patches of 2560, slices of 512 with a step of 256, also 81.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi.geometry import Rect
from wsi.grid import TILE_PX, ContextMode, Grid, InputGeometry
from wsi.palette import LabelClass
from wsi.tissue import TissueMask
from wsi.writing.label_tiff import LabelTiff

from ..errors import CohortError
from .index import PlannedSlice

PAPER_INPUT = InputGeometry(mpp=0.934, context_ratio=5, slices_per_side=5, halo_px=64)

CENTRED_HALO_PX = 16
"""Halo of networks that see a context centred on each slice, which need hardly any (docs/decisions/0087)."""

SLICE_PX = TILE_PX
STEP_PX = TILE_PX // 2


def with_context(geometry: InputGeometry, context: ContextMode) -> InputGeometry:
    """Return the geometry of a patch with this context, and with the halo that suits it.

    The context keeps its margin, so a slice sees as much of it as before.
    """
    if context == "patch":
        return replace(geometry, context=context)
    margin_px = geometry.margin_of_context_px
    return replace(geometry, context=context, halo_px=CENTRED_HALO_PX, context_margin_px=margin_px)


@dataclass(frozen=True, slots=True)
class Quota:
    """Number of slices wanted of a set; all there are when there are fewer."""

    slices: int
    rare: int | None
    """Number of them with a rare class, the others without; None takes them as they come."""
    rare_values: tuple[int, ...] = (2, 3)
    """Values of the rare classes: by default the paper's, benign and in situ."""
    balanced: bool = False
    """Whether every class is to be in as many slices, or nearly (`draw_balanced`); without `rare`."""


PAPER_QUOTAS: Mapping[str, Quota] = {
    "train": Quota(3000, 2000),
    "validation": Quota(500, None, balanced=True),
    "test": Quota(4000, 3000),
}
"""Quotas of the paper; its test set is 3000 with benign or in situ, and 1000 without."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Slices of one slide that may be planned: patch after patch, row-major in each.

    Memory: 72 bytes a slice.
    """

    patch_px: int
    patches: NDArray[np.int64]
    """(N, 2): x and y of each slice's patch, label px."""
    corners: NDArray[np.int64]
    """(N, 2): x and y of each slice, label px."""
    shares: NDArray[np.float64]
    """(N, K + 1): share of each value 0..K in each slice."""

    def planned(self, number: int, slide: int) -> PlannedSlice:
        """Return the slice `number` as a planned one of the set's slide `slide`."""
        (patch_x, patch_y), (x, y) = self.patches[number].tolist(), self.corners[number].tolist()
        return PlannedSlice(
            slide=slide,
            patch=Rect(patch_x, patch_y, self.patch_px, self.patch_px),
            rect=Rect(x, y, SLICE_PX, SLICE_PX),
            shares=tuple(round(share, 6) for share in self.shares[number].tolist()),
        )


def count_blocks(truth: Path, classes: Sequence[LabelClass]) -> NDArray[np.int64]:
    """Count the label px of each value in blocks of STEP_PX: (rows, columns, classes + 1).

    What lies beyond the map counts as 0. Reads the truth once, a row of tiles at a time.

    Raises:
        CohortError: A value is no class.
        LabelTiffError: The truth cannot be read.
    """
    with LabelTiff(truth) as tiff:
        blocks = tiff.size.tiles(STEP_PX)
        counts = np.zeros((blocks.height, blocks.width, len(classes) + 1), np.int64)
        for row in range(0, blocks.height, 2):
            band = tiff.read(Rect(0, row * STEP_PX, blocks.width * STEP_PX, 2 * STEP_PX))
            if band.max() > len(classes):
                names = ", ".join(f"{entry.value} {entry.name}" for entry in classes)
                raise CohortError(
                    f"{truth.name} has value {band.max()}; the classes are {names}. Make it again."
                )
            for value in range(len(classes) + 1):
                of_value = (band == value).reshape(2, STEP_PX, blocks.width, STEP_PX)
                # Along the contiguous axis first: adding bytes there is faster than along both axes at once.
                sums = of_value.sum(axis=3, dtype=np.int32).sum(axis=1)
                counts[row : row + 2, :, value] = sums[: blocks.height - row]
    return counts


def find_candidates(
    grid: Grid, blocks: NDArray[np.int64], tissue: TissueMask, *, background: int | None
) -> Candidates:
    """Return all slices wholly on the slide that have tissue and truth.

    Those with a class beyond `background` need no tissue in the mask. Bare glass is left out because the
    service labels none of it.
    """
    patches, corners = _patches_and_corners(grid)
    on_slide = (corners + SLICE_PX <= (grid.label_size.width, grid.label_size.height)).all(axis=1)
    patches, corners = patches[on_slide], corners[on_slide]
    x, y = (corners // STEP_PX).T
    counts = sum(blocks[y + down, x + right] for down in (0, 1) for right in (0, 1))
    has_tissue = _block_has_tissue(grid, tissue)
    on_tissue = np.any([has_tissue[y + down, x + right] for down in (0, 1) for right in (0, 1)], axis=0)
    shares = np.asarray(counts) / SLICE_PX**2
    common = [] if background is None else [background]
    wanted = (shares[:, common] > 0).any(axis=1) & on_tissue
    wanted |= (np.delete(shares, [0, *common], axis=1) > 0).any(axis=1)
    return Candidates(grid.patch_px, patches[wanted], corners[wanted], shares[wanted])


def screen(slides: Sequence[Candidates], quota: Quota, rng: np.random.Generator) -> tuple[PlannedSlice, ...]:
    """Draw the slices of a set from its slides, each at most once, in the order of slides and candidates."""
    found_slices = [
        (slide, number) for slide, found in enumerate(slides) for number in range(len(found.corners))
    ]
    rare = np.concatenate(
        [np.zeros(0, np.bool_), *((found.shares[:, _rare(quota)] > 0).any(axis=1) for found in slides)]
    )
    if quota.balanced:
        holds = [found.shares[:, 1:] > 0 for found in slides] or [np.zeros((0, 1), np.bool_)]
        drawn = draw_balanced(np.concatenate(holds), quota.slices, rng)
    else:
        groups = [(np.arange(len(found_slices)), quota.slices)]
        if quota.rare is not None:
            groups = [(np.flatnonzero(rare), quota.rare), (np.flatnonzero(~rare), quota.slices - quota.rare)]
        drawn = np.sort(np.concatenate([rng.permutation(group)[:wanted] for group, wanted in groups]))
    return tuple(slides[slide].planned(number, slide) for slide, number in (found_slices[k] for k in drawn))


def _rare(quota: Quota) -> list[int]:
    return list(quota.rare_values) if quota.rare is not None else []


def draw_balanced(holds: NDArray[np.bool_], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw at most `count` items so that every class is in as many of them, or nearly; return them in order.

    `holds` (N, K) says which of K classes each of N items holds. The next item is always a random one that
    holds the class that the fewest drawn ones hold, as long as there is such an item; items without any class
    come last.
    """
    order = rng.permutation(len(holds))
    waiting = [[int(k) for k in order[::-1] if holds[k, column]] for column in range(holds.shape[1])]
    drawn: set[int] = set()
    held = np.zeros(holds.shape[1], np.int64)
    while len(drawn) < count and any(waiting):
        scarcest = min((k for k, items in enumerate(waiting) if items), key=lambda k: held[k])
        item = waiting[scarcest].pop()
        if item not in drawn:
            drawn.add(item)
            held += holds[item]
    rest = [int(k) for k in order if int(k) not in drawn]
    return np.array(sorted([*drawn, *rest[: max(0, count - len(drawn))]]), np.intp)


def _patches_and_corners(grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return x and y of the patch and of the slice, (N, 2) each, for every slice of every patch."""
    steps = np.arange(0, grid.patch_px - SLICE_PX + 1, STEP_PX)
    patch_row, patch_column, y, x = np.meshgrid(
        np.arange(grid.patch_rows), np.arange(grid.patch_columns), steps, steps, indexing="ij"
    )
    patches = np.stack((patch_column.ravel(), patch_row.ravel()), axis=1) * grid.patch_px
    return patches, patches + np.stack((x.ravel(), y.ravel()), axis=1)


def _block_has_tissue(grid: Grid, tissue: TissueMask) -> NDArray[np.bool_]:
    """Return whether any tissue lies in each block of STEP_PX: (rows, columns)."""
    side = STEP_PX * grid.downsample // tissue.downsample
    blocks = grid.label_size.tiles(STEP_PX)
    padded = np.zeros((blocks.height * side, blocks.width * side), np.bool_)
    padded[: tissue.mask.shape[0], : tissue.mask.shape[1]] = tissue.mask
    return np.asarray(padded.reshape(blocks.height, side, blocks.width, side).any(axis=(1, 3)))
