"""Assign a class to each position so that the context is needed to see it.

Tissue is parted into territories. Those of version 1 are about 4 mm wide, large against the 2.4 mm patch that
a network sees as context; for those of version 2 see `wsi.phantom.mosaic`. Of version 1:

| territory | label | texture | landmark |
|---|---|---|---|
| NORMAL | 1 | glands | veins |
| BENIGN | 2 | the very same glands | cysts |
| IN_SITU | 3 | nests of atypical cells | thick-walled ducts |
| INVASIVE | 4 | the very same nests | lymph follicles |
| STROMA | 1 | fibres only | none |

Landmarks stand about 1.2 mm apart: most slices of 0.5 mm show none and are a coin toss within their pair,
while nearly every patch shows some. Every tissue pixel carries its territory's label. Synthetic, not tissue.
"""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ..geometry import Size
from ..palette import LabelClass, Palette
from .fields import Floats, Lattice, Noise
from .sections import Sections

_WARP_UM = ((2600.0, 520.0), (900.0, 150.0), (240.0, 40.0))
_SAMPLES = 96
_STROMA_CHANCE = 0.35
_PATCH_UM = 2400.0
_ASSIGNMENTS = 48


class Territory(IntEnum):
    """Kinds of territory; the first four are also the label values."""

    NORMAL = 1
    BENIGN = 2
    IN_SITU = 3
    INVASIVE = 4
    STROMA = 5


LABEL_OF = np.array([0, 1, 2, 3, 4, 1], dtype=np.uint8)
"""Label value of each `Territory`."""


class Warp:
    """Smooth displacement of l0 positions, which makes borders wind."""

    def __init__(self, rng: np.random.Generator, octaves: Sequence[tuple[float, float]]) -> None:
        self.across, self.down = Noise(rng, octaves), Noise(rng, octaves)

    def __call__(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return the displaced positions."""
        return x + self.across(x, y), y + self.down(x, y)


class Territories:
    """Warped Voronoi partition of the slide: one site, with a kind, for each territory."""

    def __init__(self, warp: Warp, site_x: Floats, site_y: Floats, kind: NDArray[np.uint8]) -> None:
        self._warp, self._site_x, self._site_y, self.kind = warp, site_x, site_y, kind

    def at(self, x: Floats, y: Floats) -> NDArray[np.uint8]:
        """Return the `Territory` of each l0 position."""
        return self.kind[self.site(x, y)]

    def site(self, x: Floats, y: Floats) -> NDArray[np.intp]:
        """Return the number of the site, and so of the territory, of each l0 position."""
        return _nearest(*self._warp(x, y), self._site_x, self._site_y)

    def hearts(self) -> tuple[Floats, Floats]:
        """Return the l0 position of each site, where warping puts it."""
        x, y = self._site_x, self._site_y
        for _ in range(3):
            moved_x, moved_y = self._warp(x, y)
            x, y = x + self._site_x - moved_x, y + self._site_y - moved_y
        return x, y

    def on_grid(self, x: Floats, y: Floats) -> NDArray[np.uint8]:
        """Return the `Territory` at every (y, x): (len(y), len(x)) uint8, interpolated from a lattice."""
        across = Lattice(self._warp.across, x, y)
        down = Lattice(self._warp.down, x, y)
        box = (x[0] + across.low, y[0] + down.low, x[-1] + across.high, y[-1] + down.high)
        near = self._candidates(*box)
        if len(set(self.kind[near].tolist())) == 1:
            return np.full((len(y), len(x)), self.kind[near[0]], dtype=np.uint8)
        px, py = across.sample() + x.astype(np.float32), down.sample() + y.astype(np.float32)[:, None]
        best = np.full(px.shape, np.inf, dtype=np.float32)
        kind = np.zeros(px.shape, dtype=np.uint8)
        for site in near:
            sx, sy = np.float32(self._site_x[site]), np.float32(self._site_y[site])
            distance = (px - sx) ** 2 + (py - sy) ** 2
            closer = distance < best
            best[closer] = distance[closer]
            kind[closer] = self.kind[site]
        return kind

    def _candidates(self, left: float, top: float, right: float, bottom: float) -> NDArray[np.intp]:
        # A site can win somewhere in the box only if its least distance is below some site's greatest.
        away_x = np.maximum(np.maximum(left - self._site_x, self._site_x - right), 0)
        away_y = np.maximum(np.maximum(top - self._site_y, self._site_y - bottom), 0)
        far_x = np.maximum(np.abs(left - self._site_x), np.abs(right - self._site_x))
        far_y = np.maximum(np.abs(top - self._site_y), np.abs(bottom - self._site_y))
        return np.flatnonzero(away_x**2 + away_y**2 <= (far_x**2 + far_y**2).min())


def _nearest(x: Floats, y: Floats, site_x: Floats, site_y: Floats) -> NDArray[np.intp]:
    distance = (x[..., None] - site_x) ** 2 + (y[..., None] - site_y) ** 2
    nearest: NDArray[np.intp] = np.argmin(distance, axis=-1)
    return nearest


def even_territories(
    slide: Size, seed: int, mpp: float, sections: Sections, spacing_um: float
) -> Territories:
    """Make the territories of the first version: all about `spacing_um` wide, the pairs kept apart."""
    rng = np.random.default_rng((seed, 2))
    warp = Warp(rng, [(wave / mpp, reach / mpp) for wave, reach in _WARP_UM])
    site_x, site_y = _sites(slide, spacing_um / mpp, rng)
    site = sites_of_tissue(slide, sections, warp, site_x, site_y)
    step = max(1, round(_PATCH_UM / 2 / mpp / max(slide.width, slide.height) * _SAMPLES))
    return Territories(warp, site_x, site_y, _assign(site, len(site_x), step, rng))


def sites_of_tissue(
    slide: Size, sections: Sections, warp: Warp, site_x: Floats, site_y: Floats
) -> NDArray[np.intp]:
    """Return the site of each sample of the slide, on a raster of 96 x 96; -1 on glass."""
    x = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    gx, gy = np.meshgrid(x * slide.width, x * slide.height)
    site = _nearest(*warp(gx, gy), site_x, site_y)
    site[sections.height(gx, gy) <= 0] = -1
    return site


def _sites(slide: Size, spacing_px: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the sites of a jittered grid, every other row shifted by half a column; at least one."""
    rows = max(1, round(slide.height / spacing_px))
    columns = max(1, round(slide.width * slide.height / rows / spacing_px**2))
    row, column = (index.ravel() for index in np.mgrid[0:rows, 0:columns])
    shift = 0.25 * np.where(row % 2, 1, -1) * (rows > 1) * (columns > 1)
    x = (column + 0.5 + shift + rng.uniform(-0.16, 0.16, row.size)) * slide.width / columns
    y = (row + 0.5 + rng.uniform(-0.16, 0.16, row.size)) * slide.height / rows
    return x, y


def _assign(site: NDArray[np.intp], count: int, step: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the kind of each site, from a raster of the site of each sample of tissue (-1: glass).

    Taken is, of several balanced assignments, the one that least often puts the two kinds of one pair `step`
    samples apart: a patch that holds both keeps the context from telling them apart. Some such patches always
    remain.
    """
    area = np.bincount(site[site >= 0], minlength=count)
    candidates = [balanced(area, rng) for _ in range(_ASSIGNMENTS)]
    kinds = min(candidates, key=lambda kinds: _confusions(np.append(kinds, 0)[site], step))
    # The first normal territory always keeps its glands; plain stroma is a change from time to time.
    for normal in np.flatnonzero(kinds == Territory.NORMAL)[1:]:
        if rng.random() < _STROMA_CHANCE:
            kinds[normal] = Territory.STROMA
    return kinds


def balanced(area: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Assign kinds to sites, roughly the larger first; each gets the kind with the least tissue so far."""
    kinds = np.zeros(len(area), dtype=np.uint8)
    total = dict.fromkeys((int(kind) for kind in rng.permutation([1, 2, 3, 4])), 0.0)
    for site in np.argsort(-area * rng.uniform(0.7, 1.0, len(area)), kind="stable"):
        kinds[site] = min(total, key=lambda kind: total[kind])
        total[int(kinds[site])] += float(area[site]) + 1e-3
    return kinds


def _confusions(kind: NDArray[np.uint8], step: int) -> int:
    """Count the samples with the other kind of their own pair `step` samples to the right or below."""
    pair = (kind + 1) // 2
    return sum(
        int(np.count_nonzero((one != other) & (own == its) & (one > 0) & (other > 0)))
        for one, other, own, its in (
            (kind[:, :-step], kind[:, step:], pair[:, :-step], pair[:, step:]),
            (kind[:-step], kind[step:], pair[:-step], pair[step:]),
        )
    )


PHANTOM_PALETTE = Palette(
    (
        LabelClass(1, "normal", (0, 0, 0)),
        LabelClass(2, "benign", (255, 0, 0)),
        LabelClass(3, "in situ", (0, 255, 0)),
        LabelClass(4, "invasive", (0, 0, 255)),
    )
)
"""The phantom's four classes in the paper's colours."""
