"""Turn stain density into colour: Beer-Lambert with stain vectors that differ from slide to slide."""

import numpy as np
from numpy.typing import NDArray

Densities = NDArray[np.uint8]
"""(H, W, 2) uint8: haematoxylin and eosin; 255 is FULL_DENSITY."""

FULL_DENSITY = (1.5, 1.15)
"""Units of haematoxylin and of eosin at density 255."""

# Optical density of red, green and blue for one unit of stain (Macenko et al. 2009, as commonly rounded).
_HAEMATOXYLIN = (0.65, 0.72, 0.35)
_EOSIN = (0.15, 0.80, 0.44)


class Stain:
    """Staining and light of one slide, as a table from density pairs to RGB."""

    def __init__(self, rng: np.random.Generator) -> None:
        strength = rng.uniform(0.82, 1.2, 2)
        vectors = np.array((_HAEMATOXYLIN, _EOSIN)) + rng.normal(0, 0.028, (2, 3))
        light = np.array((243.0, 242.0, 244.0)) + rng.uniform(-4, 4, 3)
        level = np.arange(256) / 255
        density = strength[:, None, None] * np.array(FULL_DENSITY)[:, None, None] * level[:, None]
        absorbed = density * vectors[:, None, :]
        rgb = light * 10 ** -(absorbed[0][None, :] + absorbed[1][:, None])
        # A pixel's two bytes, read as one little-endian number, are its row in this table.
        self._table = np.clip(np.rint(rgb), 0, 255).astype(np.uint8).reshape(-1, 3)
        self.glass = self._table[0]

    def colour(self, densities: Densities) -> NDArray[np.uint8]:
        """Return the RGB of C-contiguous densities: (H, W, 3) uint8."""
        return np.take(self._table, densities.view("<u2")[..., 0], axis=0)
