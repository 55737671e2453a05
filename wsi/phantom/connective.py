"""Make connective tissue: periodic textures of collagen and of fat, once a slide, and their patchwork.

Bundles run one way in some places and across in others; fat comes in lobules of whole cells. Which is where
is decided by fields that know nothing of classes.
"""

import numpy as np
from numpy.typing import NDArray

from ..geometry import Rect
from .design import axes
from .fields import Floats, Lattice, Noise
from .stain import Densities
from .textures import Plane, spectral, stacked

MARGIN_PX = 32
"""By how much more than MAX_BLOCK_PX a block of connective tissue may measure: what blurring needs around."""

_BLOCK_PX = 512 + 2 * MARGIN_PX
_COLLAGEN_PERIOD_UM = 628.0
_FAT_PERIOD_UM = 478.0
_SHADE_PERIOD_UM = 514.0
_MOST_PERIOD_PX = 1536
_FAT_CELL_UM = 62.0
_WALL = np.uint16(14 + 256 * 56)
"""Densities of the walls of fat cells, as one number."""
_TURN_WAVE_UM = 1500.0
_FAT_WAVE_UM = 1250.0
_TURN_BLEND = 0.07
_FAT_GAIN = 1300.0


class Connective:
    """Background of all tissue of a slide. Memory: about 30 MB."""

    def __init__(self, rng: np.random.Generator, mpp: float, blur_px: float) -> None:
        collagen = _collagen(rng, mpp, blur_px)
        self._along = _wrapped(collagen)
        self._across = _wrapped(np.ascontiguousarray(np.rot90(collagen)))
        fat, cell = _fat(rng, mpp, blur_px)
        self._fat, self._fat_cell = _wrapped(fat), _wrapped(cell)
        self._shade = _wrapped(_shade(rng, mpp))
        self._offset = rng.integers(0, 100_000, (4, 2))
        self._turn = Noise(rng, [(_TURN_WAVE_UM / mpp, 1.0), (_TURN_WAVE_UM / 4 / mpp, 0.35)])
        self._fatness = Noise(rng, [(_FAT_WAVE_UM / mpp, 1.0), (_FAT_WAVE_UM / 3 / mpp, 0.45)])
        self._wall_level = np.float32(1.7 * _FAT_GAIN / _FAT_WAVE_UM)
        self._fat_from = float(rng.uniform(0.50, 0.85))

    def runs_across(self, x: Floats, y: Floats) -> NDArray[np.bool_]:
        """Return whether bundles run from top to bottom at each l0 position."""
        return self._turn(x, y) > 0

    def is_fat(self, x: Floats, y: Floats, more: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return whether each l0 position is fat, or near; `more` is how much likelier it is there."""
        return self._fatness(x, y) + more > self._fat_from + 0.03

    def block(self, block: Rect, fattening: Lattice | None) -> Densities:
        """Return the densities of a block of l0 px; `fattening` says where more of it is fat."""
        x, y = axes(block)
        turn = Lattice(self._turn, x, y)
        canvas = self._collagen(block, turn)
        canvas += self._cut(self._shade, 3, block)
        fatness = Lattice(self._fatness, x, y)
        high = fatness.high + (fattening.high if fattening else 0.0)
        if high > self._fat_from:
            level = fatness.sample()
            if fattening is not None:
                level += fattening.sample()
            # A cell is fat as a whole or not at all, nearly: each has a threshold of its own. The few that
            # are cut get a wall there.
            cell = self._cut(self._fat_cell, 2, block)[..., 0]
            level -= np.float32(self._fat_from)
            level *= np.float32(_FAT_GAIN)
            level -= cell
            fat = self._cut(self._fat, 2, block)
            np.copyto(_pairs(canvas), _pairs(fat), where=level > 0)
            np.copyto(_pairs(canvas), _WALL, where=np.abs(level) < self._wall_level)
        return canvas

    def _collagen(self, block: Rect, turn: Lattice) -> Densities:
        along = self._cut(self._along, 0, block)
        if turn.high < -_TURN_BLEND:
            return along.copy()
        across = self._cut(self._across, 1, block)
        if turn.low > _TURN_BLEND:
            return across.copy()
        share = turn.sample()
        share *= np.float32(128 / _TURN_BLEND)
        weight = np.empty((*share.shape, 2), dtype=np.uint16)
        weight[..., 0] = weight[..., 1] = np.clip(share + 128, 0, 256)
        mixed = across * weight
        np.subtract(256, weight, out=weight)
        weight *= along
        mixed += weight
        mixed >>= 8
        return mixed.astype(np.uint8)

    def _cut(self, texture: NDArray[np.uint8], which: int, block: Rect) -> NDArray[np.uint8]:
        period = texture.shape[0] - _BLOCK_PX
        left, top = (block.x + self._offset[which, 0]) % period, (block.y + self._offset[which, 1]) % period
        return texture[top : top + block.height, left : left + block.width]


def _period_px(period_um: float, mpp: float) -> int:
    """Return the side of a texture: small factors, for a fast Fourier transform, and bounded memory."""
    return min(_MOST_PERIOD_PX, max(256, 64 * round(period_um / mpp / 64)))


def _pairs(densities: Densities) -> NDArray[np.uint16]:
    """Return the two densities of each pixel as one number, which copies faster."""
    pairs: NDArray[np.uint16] = densities.view("<u2")[..., 0]
    return pairs


def _wrapped(texture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.pad(texture, ((0, _BLOCK_PX), (0, _BLOCK_PX), (0, 0)), mode="wrap")


def _collagen(rng: np.random.Generator, mpp: float, blur_px: float) -> NDArray[np.uint8]:
    """Make wavy bundles of fibres with white clefts between them."""
    side = _period_px(_COLLAGEN_PERIOD_UM, mpp)
    sharp = max(0.9 / mpp, blur_px)
    fibres = spectral(rng, side, 22 / mpp, sharp)
    bundles = spectral(rng, side, 38 / mpp, 5.0 / mpp)
    gaps = spectral(rng, side, 20 / mpp, 2.6 / mpp)
    bend_x = spectral(rng, side, 30 / mpp, 30 / mpp) * (7 / mpp)
    bend_y = spectral(rng, side, 75 / mpp, 64 / mpp) * (20 / mpp)
    bend_y += spectral(rng, side, 11 / mpp, 16 / mpp) * (3.2 / mpp)
    row, column = np.ogrid[0:side, 0:side]
    # Nearest neighbour is enough: the fibres are smooth at this scale, and blur and grain hide the rest.
    turned = ((row + bend_y).astype(np.int64) % side, (column + bend_x).astype(np.int64) % side)
    fibres, bundles, gaps = fibres[turned], bundles[turned], gaps[turned]
    cleft = np.clip((gaps - rng.uniform(1.15, 1.5)) * 2.4, 0, 1)
    grain = spectral(rng, side, max(0.7, blur_px), max(0.7, blur_px))
    body = 60 + 9 * bundles + 6.5 * fibres + 2.0 * grain
    eosin = body * (1 - cleft) + 3 * cleft
    haematoxylin = (8 + 1.8 * fibres + 1.5 * bundles + 1.6 * grain) * (1 - 0.8 * cleft)
    return stacked(haematoxylin, eosin, 150)


def _fat(rng: np.random.Generator, mpp: float, blur_px: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Make fat cells: white polygons with thin walls, and the number of each cell, 0..255 at random."""
    side = _period_px(_FAT_PERIOD_UM, mpp)
    cells = max(3, round(side * mpp / _FAT_CELL_UM))
    pitch = np.float32(side / cells)
    shift = rng.uniform(0.14, 0.86, (2, cells, cells)).astype(np.float32)
    number = rng.integers(0, 256, (cells, cells)).astype(np.uint8)
    row, column = np.mgrid[0:side, 0:side].astype(np.float32) + np.float32(0.5)
    sway = np.float32(2.5 / mpp)
    row += spectral(rng, side, 14 / mpp, 14 / mpp) * sway
    column += spectral(rng, side, 14 / mpp, 14 / mpp) * sway
    own_row, own_column = (row // pitch).astype(np.int64), (column // pitch).astype(np.int64)
    first = np.full((side, side), np.inf, dtype=np.float32)
    second, which = first.copy(), np.zeros((side, side), dtype=np.uint8)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            j, i = (own_row + dy) % cells, (own_column + dx) % cells
            down = (own_row.astype(np.float32) + dy + shift[0, j, i]) * pitch - row
            right = (own_column.astype(np.float32) + dx + shift[1, j, i]) * pitch - column
            far = np.sqrt(down * down + right * right)
            closer = far < first
            second = np.where(closer, first, np.minimum(second, far))
            which = np.where(closer, number[j, i], which)
            first = np.where(closer, far, first)
    wall = np.clip(1.3 - (second - first) / np.float32(2.2 / mpp + blur_px), 0, 1)
    return stacked(4 + 10 * wall, 4 + 52 * wall, 120), which[..., None]


def _shade(rng: np.random.Generator, mpp: float) -> NDArray[np.uint8]:
    """Make uneven staining."""
    side = _period_px(_SHADE_PERIOD_UM, mpp)
    slow: Plane = spectral(rng, side, 70 / mpp, 70 / mpp)
    quick: Plane = spectral(rng, side, 24 / mpp, 24 / mpp)
    return stacked(4 + 1.3 * slow + 0.8 * quick, 7 + 3.0 * slow + 2.0 * quick, 60)
