"""Draw version 2 of the phantom: weak local cues, arrangement, landmarks, and the faults of real slides.

A slice says something of its class, but not enough: see `SecondDesign`.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..geometry import Rect, Size
from .artefacts import BLUR_MARGIN_PX, OutOfFocus, Pen, Streaks
from .connective import Connective
from .design import Pixels, axes, cut, paint, ranges
from .fields import Floats, Lattice, Noise, Points, scatter, uniforms
from .mosaic import mosaic
from .repertoire import Repertoire
from .sections import Sections, Shape
from .stain import Densities, draw_scanner, draw_stain
from .territories import Territory

_SHAPE = Shape(2.25, ((1.2, 0.20), (0.5, 0.12), (0.2, 0.05), (0.07, 0.022), (0.02, 0.008)))
_FRAY_UM = ((46.0, 13.0), (15.0, 5.0))
_FRAY_NODE_PX = 16
_EDGE_UM = 7.0

_NUCLEI_PITCH_UM = 17.0
_STRUCTURE_PITCH_UM = 88.0
_SCATTERED_PITCH_UM = 760.0
_LANDMARK_PITCH_UM = 1400.0
_LANDMARK_REACH_UM = 125.0
_LANDMARKS_APART_UM = 800.0
_HEART_STEP_UM = 260.0

_LOBULE_WAVE_UM = 560.0
_LOBULE_SHARE = 0.45
_CROWD_WAVE_UM = 420.0

SECOND_FORM = {Territory.NORMAL: (0.20, 0.70), Territory.BENIGN: (0.30, 0.80)}
"""Share of the second form among structures of a territory, drawn evenly from this range; the other pair has
the same ranges."""

LOBULAR = 0.70
"""Chance that a territory has the arrangement that is usual for its class."""

MATE = 0.06
"""Share of structures of the other pair, strewn in."""


class SecondDesign:
    """Slide of the second version (`wsi.phantom.design.Design`). Memory: 150 MB, from the first block on.

    Normal and benign share two forms of gland, in situ and invasive share two forms of nest. What tells the
    classes of a pair apart:

    - form (tens of um): the share of either form, a number of each territory from ranges that overlap;
    - arrangement (hundreds of um): structures lie in lobules or all over, 70 % of the territories as is usual
      for their class;
    - landmarks (mm apart): always right, one in each territory that has room.
    """

    def __init__(
        self, size: Size, seed: int, mpp: float, tissue_fraction: float, territory_um: float
    ) -> None:
        self._size, self._seed, self._mpp = size, seed, mpp
        self._hash = seed * 1_000_003 + 7
        self._sections = Sections(size, self._hash, mpp, tissue_fraction, _SHAPE)
        self.territories = mosaic(size, self._hash, mpp, self._sections, territory_um)
        rng = self._generator(13)
        scanner = draw_scanner(rng)
        self.stain = draw_stain(rng, scanner)
        self.jpeg_quality = int(rng.integers(scanner.jpeg_quality[0], scanner.jpeg_quality[1] + 1))
        self._blur_px = float(rng.uniform(*scanner.blur_um)) / mpp
        self._edge_px = _EDGE_UM / mpp
        self._fray = Noise(rng, [(wave / mpp, reach / mpp) for wave, reach in _FRAY_UM])
        self._tears = Streaks(rng, 2300 / mpp, 34 / mpp, self._edge_px, float(rng.uniform(0.35, 1.05)))
        self._folds = Streaks(rng, 3600 / mpp, 52 / mpp, 0.0, float(rng.uniform(0.3, 1.3)))
        self._focus = OutOfFocus(rng, self._hash + 30, mpp, float(rng.choice((0.0, 0.0, 0.25))))
        self._pen = Pen(rng, size, mpp, 0.25)
        self._draw_fields(rng)
        self._draw_traits()

    def _draw_fields(self, rng: np.random.Generator) -> None:
        mpp = self._mpp
        self._cellularity = float(rng.uniform(0.32, 0.5))
        self._cells_wave = Noise(rng, [(900.0 / mpp, 0.35), (200.0 / mpp, 0.2)])
        self._inflamed = Noise(rng, [(1300.0 / mpp, 1.0), (260.0 / mpp, 0.5)])
        self._inflamed_from = float(rng.uniform(0.6, 0.95))
        self._lobules = Noise(rng, [(_LOBULE_WAVE_UM / mpp, 1.0), (_LOBULE_WAVE_UM / 3.5 / mpp, 0.22)])
        self._crowd = Noise(rng, [(_CROWD_WAVE_UM / mpp, 0.3)])
        sample = rng.uniform(0, 128 * _LOBULE_WAVE_UM / mpp, (2, 4096))
        self._lobule_from = float(np.quantile(self._lobules(sample[0], sample[1]), 1 - _LOBULE_SHARE))

    def _draw_traits(self) -> None:
        """Draw what each territory looks like, from its number alone.

        `second_form` is the share of the second form among its structures, `is_lobular` how they lie.
        """
        kind = self.territories.kind
        number = np.arange(len(kind), dtype=np.int64)
        chance = uniforms(self._hash + 40, number, np.zeros_like(number), 3)
        first = np.isin(kind, (Territory.NORMAL, Territory.IN_SITU, Territory.STROMA))
        low, high = (
            np.where(first, SECOND_FORM[Territory.NORMAL][end], SECOND_FORM[Territory.BENIGN][end])
            for end in (0, 1)
        )
        self.second_form = low + (high - low) * chance[0]
        self.is_lobular = (chance[1] < LOBULAR) == first
        self._fattening = np.where((kind == Territory.STROMA) & (chance[2] < 0.45), 1.0, 0.0)

    def cover(self, x: Floats, y: Floats) -> NDArray[np.uint8] | bool | None:
        """Return the upper bound of density at every (y, x): the frayed outline, and tears."""
        height = self._sections.depth(x, y)
        if height is None or height.high <= 0:
            return None
        tear = self._tears.depth(x, y)
        inside = height.low - self._fray.max_abs >= self._edge_px
        if inside and tear is None:
            return True
        depth = height.sample()
        if not inside:
            # Fraying only takes away, so that what the outline leaves out is glass for sure.
            depth += np.minimum(Lattice(self._fray, x, y, _FRAY_NODE_PX).sample(), 0)
        if tear is not None:
            np.minimum(depth, -tear, out=depth)
        cover: NDArray[np.uint8] = np.clip(depth * np.float32(255 / self._edge_px), 0, 255).astype(np.uint8)
        return cover

    def is_blank(self, region_l0: Rect) -> bool:
        """Return whether the region is surely plain glass, without ink."""
        return not self._pen.reaches(region_l0) and self.cover(*axes(region_l0)) is None

    def block(self, block: Rect) -> Pixels | None:
        """Render a block: (H, W, 3) RGB; None where it is plain glass."""
        on_slide = block.intersect(Rect.of(self._size))
        if on_slide.is_empty:
            return None
        inked = self._pen.reaches(block)
        densities = self._focused(block)
        if densities is None:
            if not inked:
                return None
            densities = np.zeros((block.height, block.width, 2), dtype=np.uint8)
        pixels = self.stain.colour(densities)
        if inked:
            pixels = self._pen.over(pixels, block)
            if on_slide != block:
                beyond = np.full(pixels.shape, self.stain.glass, dtype=np.uint8)
                rows = slice(on_slide.y - block.y, on_slide.bottom - block.y)
                columns = slice(on_slide.x - block.x, on_slide.right - block.x)
                beyond[rows, columns] = pixels[rows, columns]
                return beyond
        return pixels

    def _focused(self, block: Rect) -> Densities | None:
        """Return the densities as the scanner sees them; None where it is glass."""
        weight = self._focus.weight(block)
        if weight is None:
            return self._densities(block)
        margin = BLUR_MARGIN_PX
        grown = Rect(block.x - margin, block.y - margin, block.width + 2 * margin, block.height + 2 * margin)
        wide = self._densities(grown)
        if wide is None:
            return None
        sharp = wide[margin:-margin, margin:-margin].astype(np.uint16)
        soft = self._focus.blurred(wide)
        mixed = (sharp * (256 - weight)[..., None] + soft * weight[..., None]) >> 8
        out: Densities = mixed.astype(np.uint8)
        cut(out, block, Rect.of(self._size))
        return out

    def _densities(self, block: Rect) -> Densities | None:
        """Return the stain densities of a block; None where it is glass."""
        x, y = axes(block)
        cover = self.cover(x, y)
        if cover is None:
            return None
        fattening = Lattice(self._fattening_at, x, y) if self._fattening.any() else None
        canvas = self._connective.block(block, fattening)
        self._paint_cells(canvas, block)
        self._paint_scattered(canvas, block)
        self._paint_structures(canvas, block)
        self._paint_landmarks(canvas, block)
        fold = self._folds.depth(x, y)
        if fold is not None:
            times = 256 + (np.clip(fold * np.float32(0.4), 0, 1) * np.float32(225)).astype(np.uint16)
            canvas = np.minimum((canvas * times[..., None].astype(np.uint32)) >> 8, 255).astype(np.uint8)
        if not isinstance(cover, bool):
            np.minimum(canvas, cover[..., None], out=canvas)
        cut(canvas, block, Rect.of(self._size))
        return canvas

    def _fattening_at(self, x: Floats, y: Floats) -> Floats:
        fattening: Floats = self._fattening[self.territories.site(x, y)]
        return fattening

    def landmarks(self, region_l0: Rect) -> tuple[Points, NDArray[np.uint8]]:
        """Return every landmark that may touch the region, and the `Territory` of each."""
        reach = _LANDMARK_REACH_UM / self._mpp
        (left, right), (top, bottom) = ranges(region_l0, reach)
        heart, kind = self._hearts
        near = (heart.x >= left) & (heart.x <= right) & (heart.y >= top) & (heart.y <= bottom)
        found = scatter(
            self._hash + 300, _LANDMARK_PITCH_UM / self._mpp, 0.5, (left, right), (top, bottom), 2
        )
        apart = np.full(found.x.shape, True)
        for hx, hy in zip(heart.x, heart.y, strict=True):
            apart &= np.hypot(found.x - hx, found.y - hy) > _LANDMARKS_APART_UM / self._mpp
        others = found.where(apart)
        others = others.where(self._fits(others.x, others.y))
        hearts = heart.where(near)
        both = Points(
            np.concatenate((hearts.x, others.x)),
            np.concatenate((hearts.y, others.y)),
            np.concatenate((hearts.chance, others.chance), axis=1),
        )
        return both, np.concatenate((kind[near], self.territories.at(others.x, others.y)))

    @cached_property
    def _hearts(self) -> tuple[Points, NDArray[np.uint8]]:
        """Landmarks of territories, near their middles: each that has room for one has one."""
        x, y = self.territories.hearts()
        number = np.arange(len(x), dtype=np.int64)
        chance = uniforms(self._hash + 41, number, np.zeros_like(number), 2)
        step = _HEART_STEP_UM / self._mpp
        taken = np.zeros(len(x), dtype=np.bool_)
        for dx, dy in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)):
            at_x, at_y = x + ~taken * dx * step, y + ~taken * dy * step
            fits = self._fits(at_x, at_y) & (self.territories.site(at_x, at_y) == number) & ~taken
            x, y = np.where(fits, at_x, x), np.where(fits, at_y, y)
            taken |= fits
        return Points(x, y, chance).where(taken), self.territories.kind[taken]

    def _fits(self, x: Floats, y: Floats) -> NDArray[np.bool_]:
        """Return where a landmark would lie wholly in its own territory, and on tissue."""
        reach = _LANDMARK_REACH_UM / self._mpp
        angle = np.arange(8)[:, None] * (np.pi / 4)
        around_x = np.concatenate((x[None], x + reach * np.cos(angle)))
        around_y = np.concatenate((y[None], y + reach * np.sin(angle)))
        kind = self.territories.at(around_x, around_y)
        fits: NDArray[np.bool_] = (kind[0] != Territory.STROMA) & (kind == kind[0]).all(axis=0)
        return fits & (self._sections.height(around_x, around_y) > 0).all(axis=0)

    @cached_property
    def _repertoire(self) -> Repertoire:
        return Repertoire(self._generator(14), self._mpp, self._blur_px)

    @cached_property
    def _connective(self) -> Connective:
        return Connective(self._generator(15), self._mpp, self._blur_px)

    def _generator(self, part: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, part))

    def _paint_cells(self, canvas: Densities, block: Rect) -> None:
        """Paint the cells of the stroma: spindles along the bundles, lymphocytes where it is inflamed."""
        stamps = self._repertoire
        found = scatter(
            self._hash + 310, _NUCLEI_PITCH_UM / self._mpp, 1.0, *ranges(block, stamps.nucleus_reach_px), 3
        )
        inflamed = self._inflamed(found.x, found.y) > self._inflamed_from
        some = self._cellularity * (0.75 + self._cells_wave(found.x, found.y))
        keep = found.chance[1] < np.where(inflamed, 0.85, some)
        keep &= ~self._is_fat(found.x, found.y)
        found, inflamed = found.where(keep), inflamed[keep]
        round_ = (found.chance[2] < 0.1) | inflamed
        across = self._connective.runs_across(found.x, found.y)
        paint(canvas, block, stamps.along, found.where(~round_ & ~across))
        paint(canvas, block, stamps.across, found.where(~round_ & across))
        paint(canvas, block, stamps.lymphocytes, found.where(round_))

    def _paint_scattered(self, canvas: Densities, block: Rect) -> None:
        """Paint what stands anywhere: arteries, ducts, rubble; the last only among nests."""
        stamps = self._repertoire
        reach = stamps.scattered_reach_px
        found = scatter(self._hash + 315, _SCATTERED_PITCH_UM / self._mpp, 0.9, *ranges(block, reach), 2)
        kind = self.territories.at(found.x, found.y)
        glands = (kind == Territory.NORMAL) | (kind == Territory.BENIGN)
        nests = (kind == Territory.IN_SITU) | (kind == Territory.INVASIVE)
        chance = found.chance[1]
        paint(canvas, block, stamps.arterioles, found.where(chance < 0.35))
        duct = (chance >= 0.35) & (chance < np.where(glands, 0.75, 0.45))
        paint(canvas, block, stamps.ducts, found.where(duct & (kind != Territory.STROMA)))
        paint(canvas, block, stamps.necroses, found.where(nests & (chance > 0.84)))

    def _paint_structures(self, canvas: Densities, block: Rect) -> None:
        """Paint glands or nests, whichever the territory has, in lobules or all over."""
        stamps = self._repertoire
        found, form = self.structures(block, stamps.structure_reach_px)
        for number, forms in enumerate(
            (stamps.acini, stamps.crowded, stamps.round_nests, stamps.ragged_nests)
        ):
            paint(canvas, block, forms, found.where(form == number))

    def structures(self, region_l0: Rect, reach_px: float) -> tuple[Points, NDArray[np.uint8]]:
        """Return glands and nests around the region, and the form of each: 0, 1 glands, 2, 3 nests."""
        found = scatter(
            self._hash + 320, _STRUCTURE_PITCH_UM / self._mpp, 0.7, *ranges(region_l0, reach_px), 4
        )
        found = found.where(~self._is_fat(found.x, found.y))
        site = self.territories.site(found.x, found.y)
        kind = self.territories.kind[site]
        in_lobule = self._lobules(found.x, found.y) > self._lobule_from
        some = _LOBULE_SHARE + self._crowd(found.x, found.y)
        keep = found.chance[1] < np.where(self.is_lobular[site], np.where(in_lobule, 0.92, 0.05), some)
        keep &= kind != Territory.STROMA
        found, site, kind = found.where(keep), site[keep], kind[keep]
        nests = ((kind == Territory.IN_SITU) | (kind == Territory.INVASIVE)) != (found.chance[2] < MATE)
        second = found.chance[3] < self.second_form[site]
        return found, (2 * nests + second).astype(np.uint8)

    def _is_fat(self, x: Floats, y: Floats) -> NDArray[np.bool_]:
        return self._connective.is_fat(x, y, self._fattening_at(x, y))

    def _paint_landmarks(self, canvas: Densities, block: Rect) -> None:
        found, kind = self.landmarks(block)
        for territory, stamps in self._repertoire.landmarks.items():
            paint(canvas, block, stamps, found.where(kind == territory))
