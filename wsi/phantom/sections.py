"""Outline of the tissue: one or several irregular sections on glass."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import Size
from .fields import NODE_PX, Floats, Lattice, Noise

_SECTION_MM2 = 180.0
_EDGE_UM = 9.0
_SAMPLES = 160
_MARGIN = 0.05


@dataclass(frozen=True, slots=True)
class Shape:
    """Form of sections."""

    squareness: float = 2.6
    """Exponent of the outline: 2 is an ellipse, more fills a square better."""
    ripples: tuple[tuple[float, float], ...] = ((0.9, 0.20), (0.35, 0.09), (0.11, 0.035), (0.03, 0.012))
    """Waves of the outline: wavelength and reach, as shares of the radius."""


EVEN = Shape()
"""Sections of the first version."""


@dataclass(frozen=True, slots=True)
class _Blob:
    x: float
    y: float
    stretch: float


class Sections:
    """Outline of the tissue, as a height field in l0 px: tissue is where `height` is above 0.

    `fraction` is the share of the slide that is tissue; it is met to about a percent, whatever the shape,
    because the outline is a level line of the field chosen by sampling it.
    """

    def __init__(self, slide: Size, seed: int, mpp: float, fraction: float, shape: Shape = EVEN) -> None:
        area_mm2 = slide.width * slide.height * (mpp / 1000) ** 2
        count = max(1, round(fraction * area_mm2 / _SECTION_MM2))
        self._radius = float(np.sqrt(fraction * slide.width * slide.height / count / np.pi))
        self._slide = slide
        self._margin_px = _MARGIN * min(slide.width, slide.height, 4 * self._radius)
        rng = np.random.default_rng((seed, 1))
        self._blobs = _place(slide, rng, count, self._radius)
        self._squareness = shape.squareness
        self._ripple = Noise(
            rng, [(size * self._radius, reach * self._radius) for size, reach in shape.ripples]
        )
        self._edge_px = _EDGE_UM / mpp
        self._level = 0.0
        x = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
        heights = self.height(*np.meshgrid(x * slide.width, x * slide.height))
        self._level = float(np.quantile(heights, 1 - fraction)) if fraction < 1 else -np.inf

    def height(self, x: Floats, y: Floats) -> Floats:
        """Return how many l0 px, roughly, each position lies inside the outline; negative on glass."""
        inside = np.full(np.shape(x), -np.inf)
        for blob in self._blobs:
            u, v = np.abs(x - blob.x) / blob.stretch, np.abs(y - blob.y) * blob.stretch
            reach = (u**self._squareness + v**self._squareness) ** (1 / self._squareness)
            np.maximum(inside, self._radius - reach, out=inside)
        # Tissue keeps away from the slide's border, as on glass.
        away = np.minimum(np.minimum(x, self._slide.width - x), np.minimum(y, self._slide.height - y))
        inside += self._ripple(x, y) - 4 * np.maximum(0, self._margin_px - away)
        return inside - self._level

    def cover(self, x: Floats, y: Floats) -> NDArray[np.uint8] | bool | None:
        """Return the upper bound of density at every (y, x): (len(y), len(x)) uint8.

        True where all is tissue, None where all is glass.
        """
        lattice = self.depth(x, y)
        if lattice is None or lattice.high <= 0:
            return None
        if lattice.low >= self._edge_px:
            return True
        cover: NDArray[np.uint8] = np.clip(lattice.sample() * (255 / self._edge_px), 0, 255).astype(np.uint8)
        return cover

    def depth(self, x: Floats, y: Floats) -> Lattice | None:
        """Return `height` around every (y, x), interpolated; None where it is surely negative."""
        if self._surely_glass(float(x[0]), float(y[0]), float(x[-1]), float(y[-1])):
            return None
        return Lattice(self.height, x, y)

    def _surely_glass(self, left: float, top: float, right: float, bottom: float) -> bool:
        """Return whether the box, grown by NODE_PX, is glass even under the strongest ripple; very cheap."""
        for blob in self._blobs:
            u = max(left - NODE_PX - blob.x, blob.x - right - NODE_PX, 0.0) / blob.stretch
            v = max(top - NODE_PX - blob.y, blob.y - bottom - NODE_PX, 0.0) * blob.stretch
            reach = (u**self._squareness + v**self._squareness) ** (1 / self._squareness)
            if self._radius - reach + self._ripple.max_abs - self._level > 0:
                return False
        return True


def _place(slide: Size, rng: np.random.Generator, count: int, radius: float) -> tuple[_Blob, ...]:
    """Place `count` sections in cells of a grid over the slide, each moved and stretched at random."""
    columns = int(np.ceil(np.sqrt(count * slide.width / slide.height)))
    rows = int(np.ceil(count / columns))
    cells = rng.permutation(columns * rows)[:count]
    wide, high = slide.width / columns, slide.height / rows
    blobs = []
    for cell in cells:
        stretch = np.sqrt(wide / high) * rng.uniform(0.92, 1.09)
        spare_x, spare_y = max(0.0, wide / 2 - 1.3 * radius), max(0.0, high / 2 - 1.3 * radius)
        x = (cell % columns + 0.5) * wide + spare_x * rng.uniform(-1, 1)
        y = (cell // columns + 0.5) * high + spare_y * rng.uniform(-1, 1)
        blobs.append(_Blob(float(x), float(y), float(stretch)))
    return tuple(blobs)
