"""The stamps of one slide: one set of glands for both kinds of gland territory, one set of nests for both of nests."""

import numpy as np

from .stamps import Brush, Stamp, cyst, duct, follicle, gland, nest, nucleus, vessel
from .territories import Territory

_STROMA_NUCLEI = 40
_GLANDS = 12
_NESTS = 12
_LANDMARKS = 3


class Library:
    """Every structure that a slide can show, drawn once; about 25 MB at 0.467 um/px."""

    def __init__(self, draw: np.random.Generator, mpp: float, blur_px: float) -> None:
        brush = Brush(draw, mpp, blur_px)
        epithelial = [
            nucleus(brush, draw.uniform(6.5, 8.5), draw.uniform(5.2, 6.5), draw.uniform(105, 140))
            for _ in range(24)
        ]
        atypical = [
            nucleus(brush, draw.uniform(8.5, 13), draw.uniform(6.5, 9.5), draw.uniform(105, 175))
            for _ in range(32)
        ]
        self.stroma = _varied([_stroma_nucleus(brush) for _ in range(_STROMA_NUCLEI)])
        self.glands = _varied([gland(brush, r, epithelial) for r in np.linspace(34, 62, _GLANDS)])
        self.nests = _varied([nest(brush, r, atypical) for r in np.linspace(36, 66, _NESTS)])
        self.nucleus_reach_px = max(stamp.reach_px for stamp in self.stroma)
        self.structure_reach_px = max(stamp.reach_px for stamp in (*self.glands, *self.nests))
        lymphocytes = [nucleus(brush, side, side * 0.95, draw.uniform(150, 185)) for side in (5.0, 5.6, 6.2)]
        radii = np.linspace(116, 140, _LANDMARKS)
        self.landmarks = {
            Territory.NORMAL: _varied([vessel(brush, r) for r in radii]),
            Territory.BENIGN: _varied([cyst(brush, r, epithelial) for r in radii]),
            Territory.IN_SITU: _varied([duct(brush, r, atypical) for r in radii]),
            Territory.INVASIVE: _varied([follicle(brush, r, lymphocytes) for r in radii]),
        }


def _varied(stamps: list[Stamp]) -> tuple[Stamp, ...]:
    return tuple(variant for stamp in stamps for variant in stamp.variants())


def _stroma_nucleus(brush: Brush) -> Stamp:
    """Mostly spindles of fibroblasts, lying roughly with the fibres, and some round lymphocytes."""
    draw = brush.draw
    if draw.random() < 0.22:
        side = draw.uniform(5.0, 6.5)
        return nucleus(brush, side, side * 0.95, draw.uniform(150, 185))
    return nucleus(
        brush, draw.uniform(9, 16), draw.uniform(2.6, 4.0), draw.uniform(90, 140), draw.normal(0, 0.5)
    )
