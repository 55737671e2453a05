"""Render any region of a synthetic slide that is never held in memory."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..geometry import Rect, Size
from .fields import Floats, Noise, Points, scatter
from .library import Library
from .sections import Sections
from .stain import Densities, Stain
from .stamps import Stamp, blit
from .territories import LABEL_OF, Territories, Territory
from .textures import MAX_BLOCK_PX, Texture

MPP = 0.467
"""The paper's slides, um/px."""

_NUCLEI_PITCH_UM = 25.0
_STRUCTURE_PITCH_UM = 168.0
_LANDMARK_PITCH_UM = 1200.0
_LANDMARK_REACH_UM = 165.0
_NUCLEI_WAVE_UM = 260.0
_STRUCTURE_WAVE_UM = 620.0


class PhantomSlide:
    """H&E-like slide made from a seed, with the truth of every pixel. Synthetic: only to try the software.

    A pure function of its arguments and the position asked for, so a region has the same pixels alone and as
    a part of a larger one; threads may share one. Memory: about 60 MB, whatever the size of the slide; none
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
    ) -> None:
        """Make a slide of `size_px` square, or `size_px` wide and `height_px` high.

        `tissue_fraction` of it is tissue, the rest glass; territories are about `territory_um` wide.

        Raises:
            ValueError: a size is below 1, the fraction is outside (0, 1], or the mpp outside 0.2..2.
        """
        self.size = Size(size_px, size_px if height_px is None else height_px)
        if min(self.size.width, self.size.height) < 1 or not 0 < tissue_fraction <= 1 or not 0.2 <= mpp <= 2:
            raise ValueError(
                "a phantom needs sides of at least 1 px, tissue_fraction in (0, 1] and mpp in 0.2..2"
            )
        self.seed, self.mpp = seed, mpp
        self._hash = seed * 1_000_003
        self._sections = Sections(self.size, self._hash, mpp, tissue_fraction)
        self.territories = Territories(self.size, self._hash, mpp, self._sections, territory_um)
        rng = self._generator(3)
        self.blur_px = float(rng.uniform(0.3, 1.1)) * MPP / mpp
        self.jpeg_quality = int(rng.integers(72, 91))
        self._cellularity = float(rng.uniform(0.45, 0.8))
        self._crowding = float(rng.uniform(0.68, 0.86))
        self._nuclei_wave = Noise(rng, [(_NUCLEI_WAVE_UM / mpp, 0.5)])
        self._structure_wave = Noise(rng, [(_STRUCTURE_WAVE_UM / mpp, 0.3)])
        self.stain = Stain(rng)

    def render(self, region_l0: Rect) -> NDArray[np.uint8]:
        """Render a region of l0 px, which may stick out: (H, W, 3) RGB uint8, glass beyond the slide."""
        out = np.empty((region_l0.height, region_l0.width, 3), dtype=np.uint8)
        for y in range(0, region_l0.height, MAX_BLOCK_PX):
            for x in range(0, region_l0.width, MAX_BLOCK_PX):
                part = out[y : y + MAX_BLOCK_PX, x : x + MAX_BLOCK_PX]
                block = Rect(region_l0.x + x, region_l0.y + y, part.shape[1], part.shape[0])
                densities = self._densities(block)
                part[...] = self.stain.glass if densities is None else self.stain.colour(densities)
        return out

    def is_glass(self, region_l0: Rect) -> bool:
        """Return whether the region is surely glass; cheap, and never True where there is tissue."""
        return self._sections.cover(*_axes(region_l0, 1)) is None

    def truth(self, region_label: Rect, downsample: int = 2) -> NDArray[np.uint8]:
        """Return the label of each label px of the region, taken at its centre: (H, W) uint8.

        A label px has `downsample` l0 px a side. 0 is glass, and whatever lies beyond the slide.
        """
        x, y = _axes(region_label, downsample)
        cover = self._sections.cover(x, y)
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
        reach = _LANDMARK_REACH_UM / self.mpp
        found = scatter(self._hash + 300, _LANDMARK_PITCH_UM / self.mpp, 0.5, *_ranges(region_l0, reach), 2)
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
        return Library(self._generator(4), self.mpp, self.blur_px)

    @cached_property
    def _texture(self) -> Texture:
        return Texture(self._generator(5), self.mpp, self.blur_px)

    def _generator(self, part: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, part))

    def _densities(self, block: Rect) -> Densities | None:
        """Return the stain densities of a block; None where it is glass."""
        cover = self._sections.cover(*_axes(block, 1))
        if cover is None or block.intersect(Rect.of(self.size)).is_empty:
            return None
        canvas = self._texture.block(block.x, block.y, block.width, block.height)
        self._paint_nuclei(canvas, block)
        self._paint_structures(canvas, block)
        self._paint_landmarks(canvas, block)
        if not isinstance(cover, bool):
            np.minimum(canvas, cover[..., None], out=canvas)
        on_slide = block.intersect(Rect.of(self.size))
        if on_slide != block:
            canvas[:, : on_slide.x - block.x] = 0
            canvas[: on_slide.y - block.y] = 0
            canvas[:, on_slide.right - block.x :] = 0
            canvas[on_slide.bottom - block.y :] = 0
        return canvas

    def _paint_nuclei(self, canvas: Densities, block: Rect) -> None:
        reach = self._library.nucleus_reach_px
        found = scatter(self._hash + 310, _NUCLEI_PITCH_UM / self.mpp, 1.0, *_ranges(block, reach), 2)
        dense = found.chance[1] < self._cellularity * (0.75 + self._nuclei_wave(found.x, found.y))
        _paint(canvas, block, self._library.stroma, found.where(dense))

    def _paint_structures(self, canvas: Densities, block: Rect) -> None:
        """Paint glands or nests, whichever the territory has; positions and sizes do not depend on it."""
        library = self._library
        ranges = _ranges(block, library.structure_reach_px)
        found = scatter(self._hash + 320, _STRUCTURE_PITCH_UM / self.mpp, 0.8, *ranges, 2)
        found = found.where(found.chance[1] < self._crowding + self._structure_wave(found.x, found.y))
        kind = self.territories.at(found.x, found.y)
        glands = (kind == Territory.NORMAL) | (kind == Territory.BENIGN)
        nests = (kind == Territory.IN_SITU) | (kind == Territory.INVASIVE)
        _paint(canvas, block, library.glands, found.where(glands))
        _paint(canvas, block, library.nests, found.where(nests))

    def _paint_landmarks(self, canvas: Densities, block: Rect) -> None:
        found, kind = self.landmarks(block)
        for territory, stamps in self._library.landmarks.items():
            _paint(canvas, block, stamps, found.where(kind == territory))


def _paint(canvas: Densities, block: Rect, stamps: tuple[Stamp, ...], points: Points) -> None:
    chosen = (points.chance[0] * len(stamps)).astype(np.int64)
    columns = np.rint(points.x).astype(np.int64) - block.x
    rows = np.rint(points.y).astype(np.int64) - block.y
    for which, x, y in zip(chosen.tolist(), columns.tolist(), rows.tolist(), strict=True):
        blit(canvas, stamps[which], x, y)


def _ranges(region: Rect, reach: float) -> tuple[tuple[float, float], tuple[float, float]]:
    return (region.x - reach, region.right + reach), (region.y - reach, region.bottom + reach)


def _axes(region: Rect, downsample: int) -> tuple[Floats, Floats]:
    """Return the l0 coordinates of the pixel centres along both sides of a region."""
    x = (np.arange(region.x, region.right, dtype=np.float64) + 0.5) * downsample
    y = (np.arange(region.y, region.bottom, dtype=np.float64) + 0.5) * downsample
    return x, y
