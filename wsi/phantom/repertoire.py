"""Draw the stamps of one slide of version 2.

Both kinds of a pair draw from the same stamps: only how often each form is taken differs, and that overlaps.
"""

import numpy as np

from .organs import (
    acinus,
    arteriole,
    comedo,
    cord,
    crowded_gland,
    long_duct,
    lymph_follicle,
    necrosis,
    ragged_nest,
    round_nest,
    vein,
    wide_cyst,
)
from .stamps import Brush, Stamp, nucleus, varied
from .territories import Territory

_LANDMARKS = 3
_SHAPES = 9
_SPINDLES = 28


class Repertoire:
    """Stamps of all structures of a slide, drawn once; about 60 MB at 0.467 um/px."""

    def __init__(self, rng: np.random.Generator, mpp: float, blur_px: float) -> None:
        brush = Brush(rng, mpp, blur_px)
        quiet = _nuclei(brush, 24, (6.2, 8.2), (4.6, 6.2), (105, 140))
        atypical = _nuclei(brush, 36, (8.0, 13.0), (6.2, 9.5), (90, 165))
        lymphocytes = _nuclei(brush, 9, (5.0, 6.4), (4.8, 6.0), (145, 185))
        dust = _nuclei(brush, 12, (1.6, 4.0), (1.4, 2.6), (110, 185))
        radii = np.linspace(19, 48, _SHAPES)
        self.acini = varied([acinus(brush, r, quiet) for r in radii])
        self.crowded = varied([crowded_gland(brush, r, quiet) for r in radii])
        self.round_nests = varied([round_nest(brush, r, atypical) for r in radii])
        cords = [cord(brush, length, atypical) for length in np.linspace(60, 130, 4)]
        self.ragged_nests = varied([*(ragged_nest(brush, r, atypical) for r in radii), *cords])
        self.ducts = varied([long_duct(brush, half, quiet) for half in np.linspace(60, 135, 4)])
        self.arterioles = varied([arteriole(brush, r) for r in (18, 26, 36)])
        self.necroses = varied([necrosis(brush, r, dust) for r in (95, 140)])
        self.along = _spindles(brush, 0.0)
        self.across = _spindles(brush, np.pi / 2)
        self.lymphocytes = tuple(lymphocytes)
        self.nucleus_reach_px = _reach(self.along, self.across, self.lymphocytes)
        self.structure_reach_px = _reach(self.acini, self.crowded, self.round_nests, self.ragged_nests)
        self.scattered_reach_px = _reach(self.ducts, self.arterioles, self.necroses)
        wide = np.linspace(92, 112, _LANDMARKS)
        self.landmarks = {
            Territory.NORMAL: varied([vein(brush, r) for r in wide]),
            Territory.BENIGN: varied([wide_cyst(brush, r, quiet) for r in wide]),
            Territory.IN_SITU: varied([comedo(brush, r, atypical) for r in wide]),
            Territory.INVASIVE: varied([lymph_follicle(brush, r, lymphocytes) for r in wide]),
        }
        self.landmark_reach_px = _reach(*self.landmarks.values())


def _reach(*sets: tuple[Stamp, ...]) -> int:
    return max(stamp.reach_px for stamps in sets for stamp in stamps)


def _nuclei(
    brush: Brush,
    count: int,
    long_um: tuple[float, float],
    short_um: tuple[float, float],
    density: tuple[float, float],
) -> list[Stamp]:
    rng = brush.rng
    return [
        nucleus(brush, rng.uniform(*long_um), rng.uniform(*short_um), rng.uniform(*density))
        for _ in range(count)
    ]


def _spindles(brush: Brush, along: float) -> tuple[Stamp, ...]:
    """Draw nuclei of fibroblasts, thin along the bundles, which run at the angle `along`."""
    rng = brush.rng
    return tuple(
        nucleus(
            brush,
            rng.uniform(8, 17),
            rng.uniform(2.0, 3.6),
            rng.uniform(95, 165),
            along + rng.normal(0, 0.35),
        )
        for _ in range(_SPINDLES)
    )
