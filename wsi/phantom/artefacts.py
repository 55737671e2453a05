"""Draw artefacts of real slides: tears and folds of the section, parts out of focus, ink on the glass."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import Rect, Size
from .design import Pixels, axes, ranges
from .fields import Floats, Lattice, Noise, scatter
from .stain import Densities

BLUR_MARGIN_PX = 24
"""By how much a block must be drawn larger than what is blurred of it."""

_SLOPE = 2.2


class Streaks:
    """Long thin winding bands, here and there: tears, where glass shows, and folds, where tissue lies twice.

    They follow the zero line of one field where another is high.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        wave_px: float,
        half_width_px: float,
        margin_px: float,
        threshold: float,
    ) -> None:
        """Make a set of bands.

        Args:
            rng: decides where they are.
            wave_px: how far, roughly, the bands lie apart where there are any.
            half_width_px: half of their greatest width.
            margin_px: how far outside a band anything depends on its depth.
            threshold: how high the other field must be, in -1..1; above 1 there are none.
        """
        self._line = Noise(rng, [(wave_px, 1.0), (wave_px / 3, 0.28), (wave_px / 9, 0.07)])
        self._gate = Noise(rng, [(wave_px * 0.9, 1.0)])
        self._px = wave_px / _SLOPE
        self._half_width_px, self._margin_px = half_width_px, margin_px
        self._threshold = threshold

    def depth(self, x: Floats, y: Floats) -> NDArray[np.float32] | None:
        """Return the px inside a band at every (y, x), negative outside.

        None where all is more than `margin_px` outside, so that it makes no difference to look closer.
        """
        if self._threshold >= 1:
            return None
        gate = Lattice(self._gate, x, y)
        if gate.high <= self._threshold:
            return None
        line = Lattice(self._line, x, y)
        reach = (self._half_width_px + self._margin_px) / self._px
        if line.low > reach or line.high < -reach:
            return None
        depth: NDArray[np.float32] = np.clip(
            (gate.sample() - np.float32(self._threshold)) * np.float32(5), 0, 1
        )
        # Where a band ends it has no width, and its middle is as far outside as matters.
        depth *= np.float32(self._half_width_px + self._margin_px)
        depth -= np.float32(self._margin_px)
        depth -= np.abs(line.sample()) * np.float32(self._px)
        return depth


class OutOfFocus:
    """Round places of a slide that the scanner did not focus on."""

    def __init__(self, rng: np.random.Generator, seed: int, mpp: float, chance: float) -> None:
        self._seed, self._chance = seed, chance
        self._pitch_px = 4200.0 / mpp
        self._radius_px = (500.0 / mpp, 1100.0 / mpp)
        self.radius_px = min(max(2, round(float(rng.uniform(1.6, 3.4)) / mpp)), BLUR_MARGIN_PX // 3)

    def weight(self, block: Rect) -> NDArray[np.uint16] | None:
        """Return how much of the blurred image to take, 0..256, (H, W); None where all is sharp."""
        if self._chance <= 0:
            return None
        most = self._radius_px[1]
        found = scatter(self._seed, self._pitch_px, 0.8, *ranges(block, most), 2)
        found = found.where(found.chance[0] < self._chance)
        x, y = axes(block)
        weight: NDArray[np.float64] | None = None
        for px, py, share in zip(found.x, found.y, found.chance[1], strict=True):
            radius = self._radius_px[0] + share * (most - self._radius_px[0])
            dx = max(block.x - px, px - block.right, 0.0)
            dy = max(block.y - py, py - block.bottom, 0.0)
            if dx * dx + dy * dy >= radius * radius:
                continue
            away = ((x - px) ** 2)[None, :] + ((y - py) ** 2)[:, None]
            here = np.clip((1 - away / radius**2) * 2.2, 0, 1)
            weight = here if weight is None else np.maximum(weight, here)
        return None if weight is None else (weight * 256).astype(np.uint16)

    def blurred(self, densities: Densities) -> Densities:
        """Return the image after two box filters, smaller by BLUR_MARGIN_PX on all sides; exact integers."""
        reach = self.radius_px
        soft = _box(_box(densities, reach), reach)
        spare = BLUR_MARGIN_PX - 2 * reach
        return soft[spare : soft.shape[0] - spare, spare : soft.shape[1] - spare]


def _box(image: Densities, reach: int) -> Densities:
    """Average squares of 2 * reach + 1 px; the image loses `reach` px on all sides."""
    side = 2 * reach + 1
    down = np.cumsum(np.pad(image, ((1, 0), (0, 0), (0, 0))), axis=0, dtype=np.int32)
    rows = down[side:] - down[:-side]
    across = np.cumsum(np.pad(rows, ((0, 0), (1, 0), (0, 0))), axis=1, dtype=np.int32)
    return ((across[:, side:] - across[:, :-side]) // (side * side)).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class _Stroke:
    x: float
    y: float
    radius: float
    half_width: float
    start: float
    sweep: float


_INKS = ((0.10, 0.30, 0.72), (0.06, 0.52, 0.36), (0.16, 0.15, 0.18))
"""Share of red, green and blue that passes: blue, green and black felt pen."""


class Pen:
    """Arcs of felt pen on the cover glass of some slides, around or beside what was to be found again."""

    def __init__(self, rng: np.random.Generator, slide: Size, mpp: float, chance: float) -> None:
        self._strokes: tuple[_Stroke, ...] = ()
        self._wave = Noise(rng, [(420.0 / mpp, 40.0 / mpp), (70.0 / mpp, 7.0 / mpp)])
        self._streak = Noise(rng, [(26.0 / mpp, 0.10), (160.0 / mpp, 0.12)])
        self._ink = np.array(_INKS[rng.integers(len(_INKS))])
        drawn = int(rng.integers(1, 3)) if rng.random() < chance else 0
        least = min(slide.width, slide.height)
        self._strokes = tuple(
            _Stroke(
                x=float(slide.width * rng.choice((rng.uniform(0.02, 0.2), rng.uniform(0.8, 0.98)))),
                y=float(slide.height * rng.uniform(0.05, 0.95)),
                radius=float(min(rng.uniform(900, 2600) / mpp, 0.3 * least)),
                half_width=float(rng.uniform(60, 120) / mpp),
                start=float(rng.uniform(0, 2 * np.pi)),
                sweep=float(rng.uniform(0.6, 3.2)),
            )
            for _ in range(drawn)
        )

    def reaches(self, region: Rect) -> bool:
        """Return whether ink may lie on the region; cheap."""
        return any(_near(stroke, region) for stroke in self._strokes)

    def over(self, pixels: Pixels, block: Rect) -> Pixels:
        """Return the pixels of the block as seen through the ink on it."""
        for stroke in self._strokes:
            if _near(stroke, block):
                x, y = np.meshgrid(*axes(block))
                far = np.hypot(x - stroke.x, y - stroke.y) + self._wave(x, y)
                turn = np.mod(np.arctan2(y - stroke.y, x - stroke.x) - stroke.start, 2 * np.pi)
                left = np.minimum(turn, stroke.sweep - turn) * stroke.radius
                depth = np.minimum(stroke.half_width - np.abs(far - stroke.radius), left)
                ink = np.clip(depth / (0.12 * stroke.half_width), 0, 1) * (0.64 + self._streak(x, y))
                through = 1 - ink[..., None] * (1 - self._ink)
                pixels = (pixels * through).astype(np.uint8)
        return pixels


def _near(stroke: _Stroke, region: Rect) -> bool:
    """Return whether the ring of the stroke's arc meets the region's bounding circle."""
    x, y = region.x + region.width / 2, region.y + region.height / 2
    reach = float(np.hypot(region.width, region.height)) / 2 + stroke.half_width * 1.6
    far = float(np.hypot(x - stroke.x, y - stroke.y))
    return abs(far - stroke.radius) < reach
