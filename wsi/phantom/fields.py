"""Random numbers and smooth fields that are pure functions of (seed, position).

Nothing here keeps state, and every operation is elementwise, so a region gives the same bits whether it is
computed alone or as a part of a larger one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Field = Callable[[Floats, Floats], Floats]
"""Maps l0 coordinates x, y (any one shape) to values of that shape."""

NODE_PX = 64
"""Usual spacing, in l0 pixels, of the lattice on which fields are evaluated before they are interpolated."""

_NOISE_CELLS = 128
_GOLDEN = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1


def _finalise(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix the bits of each word: the finaliser of splitmix64 (Steele, Lea, Flood 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniforms(seed: int, column: NDArray[np.int64], row: NDArray[np.int64], count: int) -> Floats:
    """Return `count` independent uniform numbers in [0, 1) for every lattice cell: (count, *cells)."""
    state = _finalise(
        column.astype(np.uint64) * np.uint64(0xD6E8FEB86659FD93) + np.uint64(seed * _GOLDEN & _WORD)
    )
    state = _finalise(state + row.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F))
    steps = np.array([(k * _GOLDEN) & _WORD for k in range(1, count + 1)], dtype=np.uint64)
    words = _finalise(state[None] + steps.reshape(-1, *[1] * state.ndim))
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


class Noise:
    """Smooth noise: random values on a lattice, quintic interpolation; repeats after 128 wavelengths.

    `octaves` are pairs (wavelength in l0 px, strength); no value is beyond plus or minus `max_abs`, the sum
    of strengths.
    """

    def __init__(self, rng: np.random.Generator, octaves: Sequence[tuple[float, float]]) -> None:
        side = _NOISE_CELLS
        self.max_abs = sum(abs(reach) for _, reach in octaves)
        self._waves = np.array([wave for wave, _ in octaves])
        self._tables = np.stack(
            [np.pad(rng.uniform(-reach, reach, (side, side)), (0, 1), mode="wrap") for _, reach in octaves]
        )

    def __call__(self, x: Floats, y: Floats) -> Floats:
        """Return the noise at l0 coordinates of any one shape."""
        position = np.stack((x, y))
        position = position / self._waves.reshape(-1, *[1] * position.ndim)
        cell = np.floor(position)
        part = position - cell
        share = part**3 * (part * (6 * part - 15) + 10)
        # The remainder by a power of two, of negative numbers as well.
        cell_of = cell.astype(np.int64) & (_NOISE_CELLS - 1)
        (column, row), (s, t) = np.moveaxis(cell_of, 1, 0), np.moveaxis(share, 1, 0)
        octave = np.arange(len(self._waves)).reshape(-1, *[1] * (column.ndim - 1))
        corner = (octave * (_NOISE_CELLS + 1) + row) * (_NOISE_CELLS + 1) + column
        values = self._tables.ravel()
        below = corner + (_NOISE_CELLS + 1)
        top = values[corner] * (1 - s) + values[corner + 1] * s
        bottom = values[below] * (1 - s) + values[below + 1] * s
        waves = top * (1 - t) + bottom * t
        total: Floats = waves[0]
        for wave in waves[1:]:
            total = total + wave
        return total


@dataclass(frozen=True, slots=True)
class Points:
    """Objects of one layer, in a global order: l0 coordinates (n,) and uniform numbers (count, n)."""

    x: Floats
    y: Floats
    chance: Floats

    def where(self, keep: NDArray[np.bool_]) -> "Points":
        """Return the points for which `keep` (n,) is true, in the same order."""
        return Points(self.x[keep], self.y[keep], self.chance[:, keep])


def scatter(
    seed: int, cell_px: float, jitter: float, x: tuple[float, float], y: tuple[float, float], count: int
) -> Points:
    """Return the points of a jittered grid, one a cell, that lie in the ranges x, y (l0 px).

    `jitter` is the share of the cell that the point may move in. Points come row by row, so any two of them
    keep their order whatever range is asked for: overlapping objects are always painted in the same order.
    """
    columns = np.arange(np.floor(x[0] / cell_px) - 1, np.ceil(x[1] / cell_px) + 1, dtype=np.int64)
    rows = np.arange(np.floor(y[0] / cell_px) - 1, np.ceil(y[1] / cell_px) + 1, dtype=np.int64)
    row, column = (index.ravel() for index in np.meshgrid(rows, columns, indexing="ij"))
    chance = uniforms(seed, column, row, count + 2)
    px = (column + 0.5 + jitter * (chance[0] - 0.5)) * cell_px
    py = (row + 0.5 + jitter * (chance[1] - 0.5)) * cell_px
    inside = (px >= x[0]) & (px <= x[1]) & (py >= y[0]) & (py <= y[1])
    return Points(px[inside], py[inside], chance[2:, inside])


class Lattice:
    """Field on the nodes around a rectangle of sample positions; sampled by bilinear interpolation.

    The nodes are multiples of `node_px` in the l0 frame, whatever the rectangle, so neighbours join without
    seams. `low` and `high` bound every sample.
    """

    def __init__(self, field: Field, x: Floats, y: Floats, node_px: int = NODE_PX) -> None:
        self._column, self._s = _split(x, node_px)
        self._row, self._t = _split(y, node_px)
        columns = np.arange(self._column[0], self._column[-1] + 2) * float(node_px)
        rows = np.arange(self._row[0], self._row[-1] + 2) * float(node_px)
        gx, gy = np.meshgrid(columns, rows)
        self._nodes = field(gx, gy).astype(np.float32)
        self.low, self.high = float(self._nodes.min()), float(self._nodes.max())

    def sample(self) -> NDArray[np.float32]:
        """Return the field at every (y, x): (len(y), len(x)) float32."""
        row, t = self._row - self._row[0], self._t[:, None]
        column, s = self._column - self._column[0], self._s
        lines = self._nodes[row] * (1 - t) + self._nodes[row + 1] * t
        out: NDArray[np.float32] = np.take(lines, column, axis=1)
        out *= 1 - s
        right = np.take(lines, column + 1, axis=1)
        right *= s
        out += right
        return out


def _split(positions: Floats, node_px: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    node = np.floor(positions / node_px).astype(np.int64)
    return node, (positions / node_px - node).astype(np.float32)
