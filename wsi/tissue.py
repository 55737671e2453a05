"""Find tissue: a coarse mask of the slide, so that glass costs nothing.

The measure is the drop of the most absorbed colour below the colour of the glass. Every stain, also a pale
one, takes light from some colour; dirt-grey glass, a yellowish lamp and uneven brightness are in the glass
colour, not in the drop.
"""

import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .atomic import atomic_file
from .errors import PlanFormatError
from .geometry import Rect, ceil_div
from .grid import TILE_PX, Grid
from .reading.slide import Slide

MASK_MPP = 8.0
"""The mask px is the first power of two of label px at or above this, um; finer shows texture, not tissue."""

DROP_LIMITS = (14, 24)
"""Bounds of Otsu's threshold, grey values: noise of plain glass stays below, the palest eosin lies above."""

CLOSED_UM, MARGIN_UM = 60.0, 30.0
"""Radii, um: gaps that are closed (lumina, fat), and the rim added so that edges of tissue are analysed."""

_DEFAULT_GLASS = 245
_STRIP_PX = 256


@dataclass(frozen=True, slots=True)
class TissueMask:
    """Tissue mask of one slide."""

    mask: NDArray[np.bool_]
    """(H, W), True where there is tissue; covers the label map, rounded up."""
    downsample: int
    """l0 px per mask px: `grid.downsample` times a power of two, at most one tile."""

    @classmethod
    def everywhere(cls, grid: Grid, bounds_l0: Rect) -> "TissueMask":
        """Return a mask of all that was scanned (`SlideInfo.bounds`), for jobs without a tissue search."""
        step = _mask_step(grid)
        shape = (ceil_div(grid.label_size.height, step), ceil_div(grid.label_size.width, step))
        return cls(_within_bounds(bounds_l0, shape, grid.downsample * step), grid.downsample * step)

    def tile_has_tissue(self, grid: Grid) -> NDArray[np.bool_]:
        """Return for each tile whether any tissue lies in it: (tile_rows, tile_columns)."""
        side = TILE_PX * grid.downsample // self.downsample
        padded = np.zeros((grid.tile_rows * side, grid.tile_columns * side), np.bool_)
        padded[: self.mask.shape[0], : self.mask.shape[1]] = self.mask
        return np.asarray(padded.reshape(grid.tile_rows, side, grid.tile_columns, side).any(axis=(1, 3)))

    def crop(self, label_rect: Rect, grid: Grid) -> NDArray[np.bool_]:
        """Crop the mask to a rectangle at label px: (label_rect.height, label_rect.width).

        Each label px takes the mask px it lies in; False outside the label map.
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
        return cropped

    def save(self, path: Path, *, origin: str = "") -> None:
        """Write the mask to `path` (.npz), whole or not at all; `origin` says what it was made of.

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

    `progress` is called with fractions up to 1 as strips are read; what it raises ends the search.
    Memory: about 12 bytes per mask px (100 000 x 100 000 px at 0.25 um/px: 120 MB) and one strip, whatever
    levels there are.

    Raises:
        SlideUnreadableError: pixels of the slide cannot be decoded.
    """
    step = _mask_step(grid)
    downsample = grid.downsample * step
    overview = _read_overview(slide, grid, step, progress or (lambda _fraction: None))
    drop = _drop_below_glass(overview)
    mask = drop > min(max(_otsu(drop), DROP_LIMITS[0]), DROP_LIMITS[1])
    mask_mpp = grid.slide_mpp * downsample
    # Specks go before gaps are closed: closing would join dust to islands.
    mask = _opened(mask)
    mask = ~_dilated(~_dilated(mask, _radius(CLOSED_UM, mask_mpp)), _radius(CLOSED_UM, mask_mpp))
    mask = _dilated(mask, _radius(MARGIN_UM, mask_mpp))
    return TissueMask(mask & _within_bounds(slide.info.bounds, mask.shape, downsample), downsample)


def _mask_step(grid: Grid) -> int:
    """Return the label px per mask px: a power of two, at most one tile."""
    steps = math.ceil(math.log2(max(1.0, MASK_MPP / grid.label_mpp)))
    return int(2 ** min(steps, TILE_PX.bit_length() - 1))


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


def _drop_below_glass(overview: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return by how much the most absorbed colour lies below the colour of the glass: (H, W) uint8."""
    # Plane by plane: numpy is slow over an axis of three.
    planes = [np.ascontiguousarray(overview[:, :, channel]) for channel in range(3)]
    brightest, darkest = np.maximum.reduce(planes), np.minimum.reduce(planes)
    # Pure white is what readers put where nothing was scanned; it says nothing about the lamp.
    glass = (darkest >= 200) & (brightest - darkest <= 20) & (darkest <= 253)
    if np.count_nonzero(glass) < 0.005 * glass.size:
        colours = [np.uint8(_DEFAULT_GLASS)] * 3
    else:
        colours = [np.percentile(plane[glass], 90).astype(np.uint8) for plane in planes]
    drop = np.zeros(glass.shape, np.uint8)
    for plane, colour in zip(planes, colours, strict=True):
        np.maximum(drop, colour - np.minimum(plane, colour), out=drop)
    return drop


def _otsu(values: NDArray[np.uint8]) -> int:
    """Return the threshold that separates the histogram best (Otsu 1979): values above it are foreground."""
    # Pillow counts bytes; numpy would make them integers of 8 bytes first.
    histogram = np.array(Image.fromarray(values).histogram(), np.float64)
    below = np.cumsum(histogram)
    moment = np.cumsum(histogram * np.arange(256))
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (moment[-1] * below / below[-1] - moment) ** 2 / (below * above)
    return int(np.nanargmax(np.where(np.isfinite(between), between, 0.0)))


def _radius(um: float, mask_mpp: float) -> int:
    """Convert a radius in um to mask px, at least 1."""
    return max(1, round(um / mask_mpp))


def _dilated(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Dilate the mask by a square of 2 * radius + 1 px."""
    rows = mask.copy()
    for shift in range(1, radius + 1):
        rows[shift:] |= mask[:-shift]
        rows[:-shift] |= mask[shift:]
    grown = rows.copy()
    for shift in range(1, radius + 1):
        grown[:, shift:] |= rows[:, :-shift]
        grown[:, :-shift] |= rows[:, shift:]
    return grown


def _opened(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Open the mask: drop what is less than 2 px wide. Tissue at the edge counts as going on beyond it."""
    wider = np.pad(mask, 1, mode="edge")
    pairs = wider[:-1, :-1] & wider[1:, :-1] & wider[:-1, 1:] & wider[1:, 1:]
    return pairs[:-1, :-1] | pairs[1:, :-1] | pairs[:-1, 1:] | pairs[1:, 1:]


def _within_bounds(bounds_l0: Rect, shape: tuple[int, ...], downsample: int) -> NDArray[np.bool_]:
    """Return a mask of `shape` that is True where mask px touch the bounds."""
    inside = np.zeros(shape, np.bool_)
    rows = slice(bounds_l0.y // downsample, ceil_div(bounds_l0.bottom, downsample))
    inside[rows, bounds_l0.x // downsample : ceil_div(bounds_l0.right, downsample)] = True
    return inside
