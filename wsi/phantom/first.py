"""Draw version 1 of the phantom: one texture a pair of classes, so that a slice alone says nothing."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..geometry import Rect, Size
from .design import Pixels, axes, cut, paint, ranges
from .fields import Floats, Noise, Points, scatter
from .library import Library
from .sections import Sections
from .stain import Densities, Stain
from .territories import Territory, even_territories
from .textures import Texture

_NUCLEI_PITCH_UM = 25.0
_STRUCTURE_PITCH_UM = 168.0
_LANDMARK_PITCH_UM = 1200.0
_LANDMARK_REACH_UM = 165.0
_NUCLEI_WAVE_UM = 260.0
_STRUCTURE_WAVE_UM = 620.0
_PAPER_MPP = 0.467


class FirstDesign:
    """Slide of the first version (`wsi.phantom.design.Design`). Memory: 60 MB, from the first block on."""

    def __init__(
        self, size: Size, seed: int, mpp: float, tissue_fraction: float, territory_um: float
    ) -> None:
        self._size, self._seed, self._mpp = size, seed, mpp
        self._hash = seed * 1_000_003
        self._sections = Sections(size, self._hash, mpp, tissue_fraction)
        self.territories = even_territories(size, self._hash, mpp, self._sections, territory_um)
        rng = self._generator(3)
        self._blur_px = float(rng.uniform(0.3, 1.1)) * _PAPER_MPP / mpp
        self.jpeg_quality = int(rng.integers(72, 91))
        self._cellularity = float(rng.uniform(0.45, 0.8))
        self._crowding = float(rng.uniform(0.68, 0.86))
        self._nuclei_wave = Noise(rng, [(_NUCLEI_WAVE_UM / mpp, 0.5)])
        self._structure_wave = Noise(rng, [(_STRUCTURE_WAVE_UM / mpp, 0.3)])
        self.stain = Stain.draw(rng)

    def cover(self, x: Floats, y: Floats) -> NDArray[np.uint8] | bool | None:
        """Return the upper bound of density at every (y, x)."""
        return self._sections.cover(x, y)

    def is_blank(self, region_l0: Rect) -> bool:
        """Return whether the region is surely plain glass."""
        return self.cover(*axes(region_l0)) is None

    def block(self, block: Rect) -> Pixels | None:
        """Render a block: (H, W, 3) RGB; None where it is plain glass."""
        densities = self._densities(block)
        return None if densities is None else self.stain.colour(densities)

    def landmarks(self, region_l0: Rect) -> tuple[Points, NDArray[np.uint8]]:
        """Return every landmark that may touch the region, and the `Territory` of each."""
        reach = _LANDMARK_REACH_UM / self._mpp
        found = scatter(self._hash + 300, _LANDMARK_PITCH_UM / self._mpp, 0.5, *ranges(region_l0, reach), 2)
        # Only where it lies wholly in its own territory: the pixels it covers must have the label it means.
        angle = np.arange(8)[:, None] * (np.pi / 4)
        x = np.concatenate((found.x[None], found.x + reach * np.cos(angle)))
        y = np.concatenate((found.y[None], found.y + reach * np.sin(angle)))
        kind = self.territories.at(x, y)
        keep = kind[0] != Territory.STROMA
        keep &= (kind == kind[0]).all(axis=0) & (self._sections.height(x, y) > 0).all(axis=0)
        return found.where(keep), kind[0][keep]

    @cached_property
    def _library(self) -> Library:
        return Library(self._generator(4), self._mpp, self._blur_px)

    @cached_property
    def _texture(self) -> Texture:
        return Texture(self._generator(5), self._mpp, self._blur_px)

    def _generator(self, part: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, part))

    def _densities(self, block: Rect) -> Densities | None:
        """Return the stain densities of a block; None where it is glass."""
        cover = self.cover(*axes(block))
        if cover is None or block.intersect(Rect.of(self._size)).is_empty:
            return None
        canvas = self._texture.block(block.x, block.y, block.width, block.height)
        self._paint_nuclei(canvas, block)
        self._paint_structures(canvas, block)
        self._paint_landmarks(canvas, block)
        if not isinstance(cover, bool):
            np.minimum(canvas, cover[..., None], out=canvas)
        cut(canvas, block, Rect.of(self._size))
        return canvas

    def _paint_nuclei(self, canvas: Densities, block: Rect) -> None:
        reach = self._library.nucleus_reach_px
        found = scatter(self._hash + 310, _NUCLEI_PITCH_UM / self._mpp, 1.0, *ranges(block, reach), 2)
        dense = found.chance[1] < self._cellularity * (0.75 + self._nuclei_wave(found.x, found.y))
        paint(canvas, block, self._library.stroma, found.where(dense))

    def _paint_structures(self, canvas: Densities, block: Rect) -> None:
        """Paint glands or nests, whichever the territory has; positions and sizes do not depend on it."""
        library = self._library
        reach = library.structure_reach_px
        found = scatter(self._hash + 320, _STRUCTURE_PITCH_UM / self._mpp, 0.8, *ranges(block, reach), 2)
        found = found.where(found.chance[1] < self._crowding + self._structure_wave(found.x, found.y))
        kind = self.territories.at(found.x, found.y)
        glands = (kind == Territory.NORMAL) | (kind == Territory.BENIGN)
        nests = (kind == Territory.IN_SITU) | (kind == Territory.INVASIVE)
        paint(canvas, block, library.glands, found.where(glands))
        paint(canvas, block, library.nests, found.where(nests))

    def _paint_landmarks(self, canvas: Densities, block: Rect) -> None:
        found, kind = self.landmarks(block)
        for territory, stamps in self._library.landmarks.items():
            paint(canvas, block, stamps, found.where(kind == territory))
