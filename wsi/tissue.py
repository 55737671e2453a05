"""Find tissue: a coarse mask of the slide, so that glass costs nothing.

Whoever changes what is found counts up `wsi.rules.TISSUE_RULES`.
"""

import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .atomic import atomic_file
from .errors import PlanFormatError
from .geometry import Rect, ceil_div
from .grid import TILE_PX, Grid
from .reading.slide import Slide
from .region_mask import RegionMask
from .tissue_pixels import grown, tissue_pixels

OVERVIEW_MPP = 8.0
"""The slide is searched at the last power of two of label px at or below this, um; coarser if it is large."""

OVERVIEW_PIXELS = 12_000_000
"""Most pixels of the overview: a slide of 27 mm square at 8 um."""

MARGIN_UM = 30.0
"""Rim around tissue, um, so that its edges are analysed."""

_STRIP_PX = 256


@dataclass(frozen=True, slots=True)
class TissueMask:
    """Tissue mask of one slide."""

    mask: NDArray[np.bool_]
    """(H, W), True where there is tissue; covers the label map, rounded up."""
    downsample: int
    """l0 px per mask px: `grid.downsample` times a power of two, at most one tile."""
    limits: tuple[RegionMask, ...] = ()
    """What the mask is limited to, to the label px: regions of interest, a mask of somebody's own."""

    @classmethod
    def everywhere(cls, grid: Grid, bounds_l0: Rect) -> "TissueMask":
        """Return a mask of all that was scanned (`SlideInfo.bounds`), for jobs without a tissue search."""
        step = _mask_step(grid)
        shape = (ceil_div(grid.label_size.height, step), ceil_div(grid.label_size.width, step))
        mask = np.ones(shape, np.bool_)
        _keep(mask, _touched(bounds_l0, grid.downsample * step))
        return cls(mask, grid.downsample * step)

    def within(self, limit: RegionMask, grid: Grid) -> "TissueMask":
        """Limit the mask to polygons, beside those it is limited to already."""
        touched = limit.touched(grid.label_size, self.downsample // grid.downsample)
        return TissueMask(self.mask & touched, self.downsample, (*self.limits, limit))

    def tile_has_tissue(self, grid: Grid) -> NDArray[np.bool_]:
        """Return for each tile whether any tissue lies in it: (tile_rows, tile_columns)."""
        side = TILE_PX * grid.downsample // self.downsample
        padded = np.zeros((grid.tile_rows * side, grid.tile_columns * side), np.bool_)
        padded[: self.mask.shape[0], : self.mask.shape[1]] = self.mask
        return np.asarray(padded.reshape(grid.tile_rows, side, grid.tile_columns, side).any(axis=(1, 3)))

    def crop(self, label_rect: Rect, grid: Grid) -> NDArray[np.bool_]:
        """Crop the mask to a rectangle at label px: (label_rect.height, label_rect.width).

        Each label px takes the mask px it lies in; False outside the label map and the limits.
        """
        step = self.downsample // grid.downsample
        inside = label_rect.intersect(Rect.of(grid.label_size))
        cropped = np.zeros((label_rect.height, label_rect.width), np.bool_)
        if not inside.is_empty:
            rows = np.arange(inside.y, inside.bottom) // step
            columns = np.arange(inside.x, inside.right) // step
            x, y = inside.x - label_rect.x, inside.y - label_rect.y
            # Columns are repeated before rows: few short rows are picked apart, long ones copied whole.
            widened = self.mask[rows[0] : rows[-1] + 1, columns]
            cropped[y : y + inside.height, x : x + inside.width] = widened[rows - rows[0]]
        for limit in self.limits:
            cropped &= limit.crop(label_rect)
        return cropped

    def save(self, path: Path, *, origin: str = "") -> None:
        """Write the mask to `path` (.npz), whole or not at all; `origin` says what it was made of.

        Limits are left out.

        Raises:
            OSError: the file cannot be written.
        """
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            shape = np.array([*self.mask.shape, self.downsample], np.int64)
            np.savez_compressed(file, bits=np.packbits(self.mask), shape=shape, origin=np.array(origin))

    @classmethod
    def load(cls, path: Path, *, origin: str = "") -> "TissueMask":
        """Load a mask that `save` wrote with the same `origin`.

        Raises:
            PlanFormatError: the file is absent, damaged, no tissue mask, or one of another origin.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                height, width, downsample = (int(number) for number in stored["shape"])
                bits = np.unpackbits(stored["bits"], count=height * width)
                stored_origin = str(stored["origin"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise PlanFormatError(
                f"{path.name} is no tissue mask ({error}). Delete it; it is made anew."
            ) from error
        if stored_origin != origin:
            raise PlanFormatError(
                f"{path.name} is the tissue mask of something else. Delete it; it is made anew."
            )
        return cls(bits.astype(np.bool_).reshape(height, width), downsample)


def find_tissue(slide: Slide, grid: Grid, *, progress: Callable[[float], None] | None = None) -> TissueMask:
    """Return the tissue mask of a slide, within its bounds. The same slide and grid give the same mask.

    Pens' ink and black borders are left out (see `wsi.tissue_pixels`). `progress` is called with fractions up
    to 1 as strips are read; what it raises ends the search. Memory: about 12 bytes a pixel of the overview,
    at most 150 MB, and one strip, whatever levels there are.

    Raises:
        SlideUnreadableError: pixels of the slide cannot be decoded.
    """
    coarse, fine = _overview_step(grid), _mask_step(grid)
    bounds = slide.info.bounds
    tissue, ink = tissue_pixels(
        _read_overview(slide, grid, coarse, progress or (lambda _fraction: None)),
        grid.label_mpp * coarse,
        _touched(bounds, grid.downsample * coarse),
    )
    zoom = coarse // fine
    # A rim of one pixel at least, however coarse they are.
    mask = grown(tissue, max(1.0, MARGIN_UM / (grid.label_mpp * coarse)), zoom=zoom)
    if ink is not None:
        mask &= ~grown(ink, 0.0, zoom=zoom)
    mask = mask[: ceil_div(grid.label_size.height, fine), : ceil_div(grid.label_size.width, fine)]
    downsample = grid.downsample * fine
    _keep(mask, _touched(bounds, downsample))
    return TissueMask(mask, downsample)


def _overview_step(grid: Grid) -> int:
    """Return the label px per px of the overview: a power of two, at most one tile."""
    step = 2 ** max(0, math.floor(math.log2(max(1.0, OVERVIEW_MPP / grid.label_mpp))))
    while step < TILE_PX and grid.label_size.pixels > OVERVIEW_PIXELS * step**2:
        step *= 2
    return int(min(step, TILE_PX))


def _mask_step(grid: Grid) -> int:
    """Return the label px per mask px: half of the overview's, at least one."""
    return max(1, _overview_step(grid) // 2)


def _read_overview(slide: Slide, grid: Grid, step: int, report: Callable[[float], None]) -> NDArray[np.uint8]:
    """Read the area of the label map at `step` label px per px, in strips: (H, W, 3) RGB."""
    downsample = grid.downsample * step
    width, height = ceil_div(grid.label_size.width, step), ceil_div(grid.label_size.height, step)
    overview = np.empty((height, width, 3), np.uint8)
    for y in range(0, height, _STRIP_PX):
        rows = min(_STRIP_PX, height - y)
        overview[y : y + rows] = slide.read_region(Rect(0, y, width, rows).scaled(downsample), downsample)
        report((y + rows) / height)
    return overview


def _touched(bounds_l0: Rect, downsample: int) -> Rect:
    """Return the pixels of `downsample` l0 px that touch the bounds."""
    x, y = bounds_l0.x // downsample, bounds_l0.y // downsample
    right, bottom = ceil_div(bounds_l0.right, downsample), ceil_div(bounds_l0.bottom, downsample)
    return Rect(x, y, right - x, bottom - y)


def _keep(mask: NDArray[np.bool_], part: Rect) -> None:
    """Clear the mask outside of a part of it, in place."""
    mask[: part.y] = mask[part.bottom :] = False
    mask[:, : part.x] = mask[:, part.right :] = False
