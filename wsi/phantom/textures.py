"""Make the stroma: periodic textures of fibres and of uneven staining, once a slide."""

import numpy as np
from numpy.typing import NDArray

MAX_BLOCK_PX = 512
"""Side of the largest block that `Texture.block` gives."""

_FIBRE_PERIOD_PX = 1280
_SHADE_PERIOD_PX = 1100

Plane = NDArray[np.float32]


class Texture:
    """Sum of two periodic density maps whose periods do not fit each other, so that no repeat shows.

    Densities are uint8 pairs (haematoxylin, eosin). Memory: about 12 MB.
    """

    def __init__(self, rng: np.random.Generator, mpp: float, blur_px: float) -> None:
        self._fibres = padded(_fibres(rng, mpp, blur_px))
        self._shade = padded(_shade(rng, mpp))
        self._offset = rng.integers(0, 100_000, 4)

    def block(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Return the densities of an l0 rectangle: (height, width, 2) uint8; sides up to MAX_BLOCK_PX."""
        parts = []
        for texture, period, (dx, dy) in (
            (self._fibres, _FIBRE_PERIOD_PX, self._offset[:2].tolist()),
            (self._shade, _SHADE_PERIOD_PX, self._offset[2:].tolist()),
        ):
            left, top = (x + dx) % period, (y + dy) % period
            parts.append(texture[top : top + height, left : left + width])
        return np.add(*parts)


def padded(texture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat the first rows and columns of a texture at its end, so that any block is a slice of it."""
    return np.pad(texture, ((0, MAX_BLOCK_PX), (0, MAX_BLOCK_PX), (0, 0)), mode="wrap")


def spectral(rng: np.random.Generator, side: int, across_px: float, along_px: float) -> Plane:
    """Return periodic Gaussian noise, zero mean and unit spread, with a correlation length for each axis."""
    noise = np.fft.rfft2(rng.standard_normal((side, side), dtype=np.float32))
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    noise *= np.exp(-2 * np.pi**2 * ((fx * across_px) ** 2 + (fy * along_px) ** 2))
    plane: Plane = np.fft.irfft2(noise, s=(side, side)).astype(np.float32)
    plane /= plane.std()
    return plane


def _fibres(rng: np.random.Generator, mpp: float, blur_px: float) -> NDArray[np.uint8]:
    """Make wavy bundles of collagen, with pale cracks between them."""
    side = _FIBRE_PERIOD_PX
    strands = spectral(rng, side, 16 / mpp, max(1.0 / mpp, blur_px))
    bundles = spectral(rng, side, 30 / mpp, 4.5 / mpp)
    bend_x = spectral(rng, side, 36 / mpp, 36 / mpp) * (14 / mpp)
    bend_y = spectral(rng, side, 42 / mpp, 42 / mpp) * (22 / mpp)
    row, column = np.ogrid[0:side, 0:side]
    # Nearest neighbour is enough: the strands are smooth at this scale, and blur and grain hide the rest.
    turned = ((row + bend_y).astype(np.int64) % side, (column + bend_x).astype(np.int64) % side)
    strands, bundles = strands[turned], bundles[turned]
    crack = np.exp(-((np.abs(bundles) / 0.16) ** 2)) * (strands < 0.6)
    grain = spectral(rng, side, max(0.7, blur_px), max(0.7, blur_px))
    eosin = 46 + 6.5 * strands + 6 * np.abs(bundles) - 26 * crack + 2.2 * grain
    haematoxylin = 8 + 1.6 * strands - 4 * crack + 1.8 * grain
    return stacked(haematoxylin, eosin, 150)


def _shade(rng: np.random.Generator, mpp: float) -> NDArray[np.uint8]:
    """Make uneven staining."""
    side = _SHADE_PERIOD_PX
    slow = spectral(rng, side, 64 / mpp, 64 / mpp)
    slower = spectral(rng, side, 26 / mpp, 26 / mpp)
    return stacked(6 + 1.5 * slow + 1.2 * slower, 16 + 3 * slow + 4 * slower, 100)


def stacked(haematoxylin: Plane, eosin: Plane, most: int) -> NDArray[np.uint8]:
    """Return densities (H, W, 2) clipped to 0..most."""
    return np.clip(np.stack((haematoxylin, eosin), axis=2), 0, most).astype(np.uint8)
