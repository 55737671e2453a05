"""Lay out the territories of the second version: from small to large, many borders, whatever meets."""

import numpy as np

from ..geometry import Size
from .fields import Floats, Noise
from .sections import Sections
from .territories import Territories, Territory, Warp, balanced, sites_of_tissue

SMALLEST = 0.2
"""Width of the smallest territories over that of the largest."""

_WARP_UM = ((2100.0, 330.0), (700.0, 120.0), (200.0, 42.0))
_WARP_FULL_UM = 2200.0
_SPACING_WAVE = 0.8
_STROMA_CHANCE = 0.3
_TRIES = 16
_MOST_SITES = 20_000


def mosaic(slide: Size, seed: int, mpp: float, sections: Sections, largest_um: float) -> Territories:
    """Make territories from SMALLEST * `largest_um` to `largest_um` wide, their kinds balanced by tissue.

    Nothing keeps the kinds of a pair apart: a patch of 2.4 mm often holds both.
    """
    rng = np.random.default_rng((seed, 12))
    # Winding that suits territories of the usual size would tear small ones apart.
    calm = min(1.0, largest_um / _WARP_FULL_UM)
    warp = Warp(rng, [(wave * calm / mpp, reach * calm / mpp) for wave, reach in _WARP_UM])
    site_x, site_y = _sites(slide, largest_um / mpp, rng)
    site = sites_of_tissue(slide, sections, warp, site_x, site_y)
    kind = balanced(np.bincount(site[site >= 0], minlength=len(site_x)), rng)
    for normal in np.flatnonzero(kind == Territory.NORMAL)[1:]:
        if rng.random() < _STROMA_CHANCE:
            kind[normal] = Territory.STROMA
    return Territories(warp, site_x, site_y, kind)


def _sites(slide: Size, largest_px: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Throw sites at random; each keeps the others away by the spacing that a smooth field has there."""
    spacing = Noise(rng, [(_SPACING_WAVE * largest_px, 1.0)])
    smallest_px = SMALLEST * largest_px
    throws = min(_MOST_SITES, 8 + int(_TRIES * slide.pixels / smallest_px**2 / 4))
    x = np.empty(throws)
    y = np.empty(throws)
    free_sq = np.empty(throws)
    found = 0
    thrown = rng.uniform(0, 1, (throws, 2)) * (slide.width, slide.height)
    # A value of smooth noise is rarely near its bounds: stretched, so that both sizes do occur.
    share = np.clip(0.5 + 0.9 * spacing(thrown[:, 0], thrown[:, 1]), 0, 1)
    apart = smallest_px * (1 / SMALLEST) ** share * 0.85
    for (px, py), own in zip(thrown.tolist(), apart.tolist(), strict=True):
        distance_sq = (x[:found] - px) ** 2 + (y[:found] - py) ** 2
        if (distance_sq < np.minimum(free_sq[:found], own**2)).any():
            continue
        x[found], y[found], free_sq[found] = px, py, own**2
        found += 1
    return x[:found].copy(), y[:found].copy()
