"""Stamps of one slide.

There is one set of glands for both kinds of territory with glands, and one set of nests for both with nests.
"""

import numpy as np

from .stamps import Brush, Stamp, cyst, duct, follicle, gland, nest, nucleus, varied, vessel
from .territories import Territory

_STROMA_NUCLEI = 40
_GLANDS = 12
_NESTS = 12
_LANDMARKS = 3


class Library:
    """Stamps of all structures of a slide, drawn once; about 25 MB at 0.467 um/px."""

    def __init__(self, rng: np.random.Generator, mpp: float, blur_px: float) -> None:
        brush = Brush(rng, mpp, blur_px)
        epithelial = [
            nucleus(brush, rng.uniform(6.5, 8.5), rng.uniform(5.2, 6.5), rng.uniform(105, 140))
            for _ in range(24)
        ]
        atypical = [
            nucleus(brush, rng.uniform(8.5, 13), rng.uniform(6.5, 9.5), rng.uniform(105, 175))
            for _ in range(32)
        ]
        self.stroma = varied([_stroma_nucleus(brush) for _ in range(_STROMA_NUCLEI)])
        self.glands = varied([gland(brush, r, epithelial) for r in np.linspace(34, 62, _GLANDS)])
        self.nests = varied([nest(brush, r, atypical) for r in np.linspace(36, 66, _NESTS)])
        self.nucleus_reach_px = max(stamp.reach_px for stamp in self.stroma)
        self.structure_reach_px = max(stamp.reach_px for stamp in (*self.glands, *self.nests))
        lymphocytes = [nucleus(brush, side, side * 0.95, rng.uniform(150, 185)) for side in (5.0, 5.6, 6.2)]
        radii = np.linspace(116, 140, _LANDMARKS)
        self.landmarks = {
            Territory.NORMAL: varied([vessel(brush, r) for r in radii]),
            Territory.BENIGN: varied([cyst(brush, r, epithelial) for r in radii]),
            Territory.IN_SITU: varied([duct(brush, r, atypical) for r in radii]),
            Territory.INVASIVE: varied([follicle(brush, r, lymphocytes) for r in radii]),
        }


def _stroma_nucleus(brush: Brush) -> Stamp:
    """Draw a nucleus of the stroma: mostly a spindle along the fibres (fibroblast), else a lymphocyte."""
    rng = brush.rng
    if rng.random() < 0.22:
        side = rng.uniform(5.0, 6.5)
        return nucleus(brush, side, side * 0.95, rng.uniform(150, 185))
    return nucleus(brush, rng.uniform(9, 16), rng.uniform(2.6, 4.0), rng.uniform(90, 140), rng.normal(0, 0.5))
