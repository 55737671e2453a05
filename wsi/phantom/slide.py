"""Render any region of a synthetic slide that is never held in memory."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..geometry import Rect, Size
from .design import Design, axes
from .fields import Points
from .first import FirstDesign
from .second import SecondDesign
from .territories import LABEL_OF
from .textures import MAX_BLOCK_PX

MPP = 0.467
"""The paper's slides, um/px."""

Version = Literal[1, 2]

LATEST: Version = 2
"""Version that is made where none is named; the other is for results that were taken with it."""

_DESIGNS: dict[Version, type[FirstDesign] | type[SecondDesign]] = {1: FirstDesign, 2: SecondDesign}


class PhantomSlide:
    """H&E-like slide made from a seed, with the truth of every pixel. Synthetic: only to try the software.

    A pure function of its arguments and the position asked for, so a region has the same pixels alone and as
    a part of a larger one; threads may share one. Memory: about 150 MB, whatever the size of the slide; none
    of it before the first `render`.
    """

    def __init__(
        self,
        size_px: int,
        seed: int,
        mpp: float = MPP,
        *,
        height_px: int | None = None,
        tissue_fraction: float = 0.7,
        territory_um: float = 4000.0,
        version: Version = LATEST,
    ) -> None:
        """Make a slide of `size_px` square, or `size_px` wide and `height_px` high.

        `tissue_fraction` of it is tissue, the rest glass. Territories are about `territory_um` wide in
        version 1, and from a fifth of it to `territory_um` in version 2.

        Raises:
            ValueError: a size is below 1, the fraction is outside (0, 1], the mpp outside 0.2..2, or there is
                no such version.
        """
        self.size = Size(size_px, size_px if height_px is None else height_px)
        if min(self.size.width, self.size.height) < 1 or not 0 < tissue_fraction <= 1 or not 0.2 <= mpp <= 2:
            raise ValueError(
                "a phantom needs sides of at least 1 px, tissue_fraction in (0, 1] and mpp in 0.2..2"
            )
        if version not in _DESIGNS:
            raise ValueError(f"a phantom needs a version of {', '.join(map(str, _DESIGNS))}, not {version}")
        self.seed, self.mpp, self.version = seed, mpp, version
        self.design: Design = _DESIGNS[version](self.size, seed, mpp, tissue_fraction, territory_um)
        self.territories = self.design.territories
        self.stain = self.design.stain
        self.jpeg_quality = self.design.jpeg_quality

    def render(self, region_l0: Rect) -> NDArray[np.uint8]:
        """Render a region of l0 px, which may stick out: (H, W, 3) RGB uint8, glass beyond the slide."""
        out = np.empty((region_l0.height, region_l0.width, 3), dtype=np.uint8)
        for y in range(0, region_l0.height, MAX_BLOCK_PX):
            for x in range(0, region_l0.width, MAX_BLOCK_PX):
                part = out[y : y + MAX_BLOCK_PX, x : x + MAX_BLOCK_PX]
                block = Rect(region_l0.x + x, region_l0.y + y, part.shape[1], part.shape[0])
                pixels = self.design.block(block)
                part[...] = self.stain.glass if pixels is None else pixels
        return out

    def is_glass(self, region_l0: Rect) -> bool:
        """Return whether the region is surely glass; cheap, and never True where there is tissue."""
        return self.design.cover(*axes(region_l0)) is None

    def is_blank(self, region_l0: Rect) -> bool:
        """Return whether the region is surely glass with nothing on it, no ink either; cheap."""
        return self.design.is_blank(region_l0)

    def truth(self, region_label: Rect, downsample: int = 2) -> NDArray[np.uint8]:
        """Return the label of each label px of the region, taken at its centre: (H, W) uint8.

        A label px has `downsample` l0 px a side. 0 is glass, and whatever lies beyond the slide.
        """
        x, y = axes(region_label, downsample)
        cover = self.design.cover(x, y)
        if cover is None:
            return np.zeros((len(y), len(x)), dtype=np.uint8)
        labels = LABEL_OF[self.territories.on_grid(x, y)]
        if not isinstance(cover, bool):
            labels[cover < 128] = 0
        labels[:, (x < 0) | (x > self.size.width)] = 0
        labels[(y < 0) | (y > self.size.height)] = 0
        return labels

    def landmarks(self, region_l0: Rect) -> tuple[Points, NDArray[np.uint8]]:
        """Return every landmark that may touch the region: centres in l0 px, and the `Territory` of each."""
        return self.design.landmarks(region_l0)
