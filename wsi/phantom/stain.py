"""Turn stain density into colour: Beer-Lambert with stain vectors that differ from slide to slide."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Densities = NDArray[np.uint8]
"""(H, W, 2) uint8: haematoxylin and eosin; 255 is FULL_DENSITY."""

Vector = NDArray[np.float64]

FULL_DENSITY = (1.5, 1.15)
"""Units of haematoxylin and of eosin at density 255."""

# Optical density of red, green and blue for one unit of stain (Macenko et al. 2009, as commonly rounded).
_HAEMATOXYLIN = (0.65, 0.72, 0.35)
_EOSIN = (0.15, 0.80, 0.44)


class Stain:
    """Staining and light of one slide, as a table from density pairs to RGB."""

    def __init__(self, strength: Vector, vectors: Vector, light: Vector) -> None:
        """Make the table.

        Args:
            strength: (2,), of haematoxylin and eosin, 1 as usual.
            vectors: (2, 3), optical density of red, green and blue for one unit of each.
            light: (3,), the RGB of glass, 0..255.
        """
        level = np.arange(256) / 255
        density = strength[:, None, None] * np.array(FULL_DENSITY)[:, None, None] * level[:, None]
        absorbed = density * vectors[:, None, :]
        rgb = light * 10 ** -(absorbed[0][None, :] + absorbed[1][:, None])
        # A pixel's two bytes, read as one little-endian number, are its row in this table.
        colours = np.clip(np.rint(rgb), 0, 255).astype(np.uint8).reshape(-1, 3)
        self.glass = colours[0]
        # Padded to four bytes, which are looked up as one number, a multiple faster than three.
        self._table = np.pad(colours, ((0, 0), (0, 1))).view("<u4")[:, 0]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Stain":
        """Draw the stain of a slide of the first version: one laboratory whose days differ a little."""
        strength = rng.uniform(0.82, 1.2, 2)
        vectors = np.array((_HAEMATOXYLIN, _EOSIN)) + rng.normal(0, 0.028, (2, 3))
        light = np.array((243.0, 242.0, 244.0)) + rng.uniform(-4, 4, 3)
        return cls(strength, vectors, light)

    def colour(self, densities: Densities) -> NDArray[np.uint8]:
        """Return the RGB of C-contiguous densities: (H, W, 3) uint8."""
        height, width = densities.shape[:2]
        padded = np.take(self._table, densities.view("<u2")[..., 0]).view(np.uint8).reshape(height, width, 4)
        rgb = np.empty((height, width, 3), dtype=np.uint8)
        for channel in range(3):
            rgb[..., channel] = padded[..., channel]
        return rgb


@dataclass(frozen=True, slots=True)
class _Protocol:
    """Colours of one laboratory."""

    haematoxylin: tuple[float, float, float]
    eosin: tuple[float, float, float]
    strength: tuple[float, float]


_PROTOCOLS = (
    _Protocol(_HAEMATOXYLIN, _EOSIN, (1.0, 1.0)),
    _Protocol((0.72, 0.66, 0.24), (0.12, 0.74, 0.34), (1.15, 1.05)),
    _Protocol((0.56, 0.74, 0.42), (0.10, 0.84, 0.58), (0.95, 1.1)),
    _Protocol((0.60, 0.72, 0.38), (0.18, 0.72, 0.42), (0.75, 0.68)),
    _Protocol((0.66, 0.70, 0.32), (0.07, 0.86, 0.40), (1.05, 1.3)),
)
"""As usual; blue; purple with orange eosin; faded; strong pink."""


@dataclass(frozen=True, slots=True)
class Scanner:
    """Light, sharpness and compression of one make of scanner."""

    light: tuple[float, float, float]
    blur_um: tuple[float, float]
    jpeg_quality: tuple[int, int]


_SCANNERS = (
    Scanner((243.0, 242.0, 244.0), (0.18, 0.40), (68, 76)),
    Scanner((250.0, 250.0, 250.0), (0.14, 0.26), (78, 85)),
    Scanner((236.0, 238.0, 235.0), (0.30, 0.55), (86, 92)),
    Scanner((246.0, 241.0, 246.0), (0.22, 0.48), (55, 66)),
)


def draw_scanner(rng: np.random.Generator) -> Scanner:
    """Draw the make of scanner of a slide."""
    return _SCANNERS[rng.integers(len(_SCANNERS))]


def draw_stain(rng: np.random.Generator, scanner: Scanner) -> Stain:
    """Draw the stain of a slide: one of several laboratories, whose days differ too."""
    protocol = _PROTOCOLS[rng.integers(len(_PROTOCOLS))]
    strength = np.array(protocol.strength) * rng.uniform(0.85, 1.15, 2)
    vectors = np.array((protocol.haematoxylin, protocol.eosin)) + rng.normal(0, 0.02, (2, 3))
    light = np.array(scanner.light) + rng.uniform(-3, 3, 3)
    return Stain(strength, vectors, light)
