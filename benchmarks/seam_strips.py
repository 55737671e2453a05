"""What a seam is, counted: labels along borders against labels inside, both against a judge that has no border there.

Knows label maps only, not how they were made; `benchmarks.seams` makes them and says why it is done so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wsi.grid import TILE_PX
from wsi.plan import Plan

Labels = NDArray[np.uint8]
Counts = NDArray[np.int64]
"""(4,): pixels of border strips that disagree, pixels of border strips, and the same two of interior strips."""
Kind = Literal["tile", "patch"]
KINDS: tuple[Kind, ...] = ("tile", "patch")

STRIP_PX = 16
"""Half the width of a strip: label px on each side of its line."""

BLOCK_PX = TILE_PX + 2 * STRIP_PX
"""Side of a block around a corner of tiles: both kinds of strips fit in."""

RESAMPLES = 2000
"""Of the corners, for the interval of a ratio."""


@dataclass(frozen=True, slots=True)
class Corner:
    """Where four tiles with tissue meet, label px."""

    x: int
    y: int
    upright: bool
    """Whether the vertical border counts: where patches meet, only what parts patches does."""
    level: bool
    """Whether the horizontal border counts."""
    patches: tuple[int, int, int, int]
    """Index of the patch of each tile: upper left, upper right, lower left, lower right."""

    @property
    def kind(self) -> Kind:
        """What the borders part: tiles of one patch, or patches."""
        return "tile" if len(set(self.patches)) == 1 else "patch"

    def block(self, labels: Labels) -> Labels:
        """(BLOCK_PX, BLOCK_PX) of a whole label map; four tiles lie about the corner, so it is inside."""
        x, y = self.x - BLOCK_PX // 2, self.y - BLOCK_PX // 2
        return labels[y : y + BLOCK_PX, x : x + BLOCK_PX]


def corners_of(plan: Plan) -> list[Corner]:
    """All corners of four planned tiles."""
    grid, side = plan.grid, plan.grid.slices_per_side
    tiles = {(p.column * side + x, p.row * side + y) for p in plan.patches for x, y in p.slices}
    corners = []
    for x, y in sorted(tiles):
        around = ((x - 1, y - 1), (x, y - 1), (x - 1, y), (x, y))
        if tiles.issuperset(around):
            a, b, c, d = (row // side * grid.patch_columns + column // side for column, row in around)
            inside = a == b == c == d
            corners.append(Corner(x * TILE_PX, y * TILE_PX, inside or a != b, inside or a != c, (a, b, c, d)))
    return corners


def by_quarters(judges: Mapping[int, Labels], patches: Sequence[int]) -> Labels:
    """A block whose quarters are those of the judges of these patches, in the order of Corner.patches."""
    labels, half = np.empty((BLOCK_PX, BLOCK_PX), np.uint8), BLOCK_PX // 2
    for quarter, patch in enumerate(patches):
        y, x = (half * side for side in divmod(quarter, 2))
        labels[y : y + half, x : x + half] = judges[patch][y : y + half, x : x + half]
    return labels


def count_strips(labels: Labels, judge: Labels, *, upright: bool, level: bool) -> Counts:
    """Count the strips of two blocks (BLOCK_PX, BLOCK_PX); pixels without a label (0) do not count."""
    counts = np.zeros(4, np.int64)
    seen = labels > 0
    wrong = (labels != judge) & seen
    for wanted, turned in ((upright, False), (level, True)):
        if wanted:
            strips = [_strips(part.T if turned else part) for part in (wrong, seen)]
            counts += [int(strips[k][place].sum()) for place in (0, 1) for k in (0, 1)]
    return counts


def count_step(labels: Labels, judges: Mapping[int, Labels], corner: Corner) -> Counts:
    """Count along borders of patches where the judges of both sides disagree; `labels` says which pixels count."""
    counts = np.zeros(4, np.int64)
    if corner.kind == "patch":
        a, b, c, d = corner.patches
        own = np.where(labels > 0, by_quarters(judges, corner.patches), 0).astype(np.uint8)
        counts += count_strips(own, by_quarters(judges, (b, a, d, c)), upright=corner.upright, level=False)
        counts += count_strips(own, by_quarters(judges, (c, d, a, b)), upright=False, level=corner.level)
    return counts


def _strips(block: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Along the vertical lines: the strip on the border in the middle, and the two half a tile from it.

    Only of rows at least a quarter tile from the horizontal border, which has strips of its own.
    """
    from_middle = np.abs(np.arange(BLOCK_PX) - BLOCK_PX // 2 + 0.5)
    rows = (from_middle > TILE_PX // 4) & (from_middle < TILE_PX // 2)
    border = from_middle < STRIP_PX
    interior = np.abs(from_middle - TILE_PX // 2) < STRIP_PX
    return block[np.ix_(rows, border)], block[np.ix_(rows, interior)]


@dataclass(frozen=True, slots=True)
class SeamRatio:
    """Disagreement with the judges along borders and inside, as fractions of the pixels, and their ratio with the 95 %
    interval of a bootstrap over corners. None stands for 0/0: nothing to look at, or nothing that disagrees.
    """

    corners: int
    border: float | None
    interior: float | None
    ratio: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, counts: Sequence[Counts]) -> "SeamRatio":
        """Sum up corners; the same counts give the same interval."""
        if not counts:
            return cls(0, None, None, None, None, None)
        table = np.stack(counts)
        border, interior, ratio = shares(table.sum(0))
        rng = np.random.default_rng(0)
        drawn = (table[rng.integers(0, len(table), len(table))].sum(0) for _ in range(RESAMPLES))
        ratios = [found for found in (shares(one)[2] for one in drawn) if found is not None]
        low, high = np.percentile(ratios, (2.5, 97.5)).tolist() if ratios else (None, None)
        return cls(len(counts), border, interior, ratio, low, high)


def shares(totals: Counts) -> tuple[float | None, float | None, float | None]:
    """Fraction that disagrees along borders, inside, and the ratio of the two."""
    border_wrong, border_seen, interior_wrong, interior_seen = totals.tolist()
    border = border_wrong / border_seen if border_seen else None
    interior = interior_wrong / interior_seen if interior_seen else None
    return border, interior, border / interior if border is not None and interior else None
