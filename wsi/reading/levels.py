"""Read any region at any integer down-sampling from pyramid levels, whichever format stores them."""

import math
from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..geometry import Rect, Size
from .slide_info import SlideInfo

LEVEL_TOLERANCE = 1.10
"""A level this much too coarse is still read: up to 10 % off is better than decoding 16 times the pixels."""

MAX_BLOCK_PX = 2**25
"""Level pixels decoded at once; larger regions are read block by block.

As RGB that is 100 MB; OpenSlide's RGBA lies beside it, about 250 MB in all. A patch of 5376 px fits whole:
blocks would decode the tiles on their borders twice.
"""

WHITE = 255


class LevelSource(Protocol):
    """Decoded pixels of single levels. Thread-safe."""

    @property
    def sizes(self) -> tuple[Size, ...]:
        """Size of each level, finest first."""

    def read(self, level: int, rect: Rect, reduce: int) -> NDArray[np.uint8]:
        """Read a rectangle of a level, averaged over reduce x reduce px, or nearly so.

        `rect` is in level px, inside the level, its sides multiples of `reduce`. Returns
        (rect.height // reduce, rect.width // reduce, 3) RGB uint8.

        Raises:
            SlideUnreadableError: pixels cannot be decoded.
        """

    def close(self) -> None:
        """Release the file."""


class PyramidSlide:
    """Slide over a LevelSource; `wsi.reading.slide.Slide` is the contract."""

    def __init__(self, info: SlideInfo, levels: LevelSource, icc_profile: bytes | None = None) -> None:
        self.info = info
        self.icc_profile = icc_profile
        self._levels = levels

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._levels.close()

    def read_region(self, region_l0: Rect, downsample: int) -> NDArray[np.uint8]:
        """Read a region as `wsi.reading.slide.Slide.read_region` says, where the errors are listed too.

        Memory: the result and one block, see MAX_BLOCK_PX.
        """
        if downsample < 1 or region_l0.width % downsample or region_l0.height % downsample:
            raise ValueError(f"sides of {region_l0} must be multiples of downsample {downsample}")
        shape = (region_l0.height // downsample, region_l0.width // downsample, 3)
        level = self._best_level(downsample)
        blocks = list(_blocks(region_l0, downsample, self.info.level_downsamples[level]))
        if len(blocks) == 1:
            return self._read_block(region_l0, downsample, level)
        pixels = np.full(shape, WHITE, np.uint8)
        for block in blocks:
            y, x = (block.y - region_l0.y) // downsample, (block.x - region_l0.x) // downsample
            rows, columns = block.height // downsample, block.width // downsample
            pixels[y : y + rows, x : x + columns] = self._read_block(block, downsample, level)
        return pixels

    def _best_level(self, downsample: int) -> int:
        """Return the coarsest level that is at most LEVEL_TOLERANCE too coarse."""
        usable = [
            level
            for level, level_downsample in enumerate(self.info.level_downsamples)
            if level_downsample <= downsample * LEVEL_TOLERANCE
        ]
        return max(usable, key=lambda level: self.info.level_downsamples[level], default=0)

    def _read_block(self, region_l0: Rect, downsample: int, level: int) -> NDArray[np.uint8]:
        """Read one region in one decode, from a given level."""
        width, height = region_l0.width // downsample, region_l0.height // downsample
        if region_l0.intersect(Rect.of(self.info.size)).is_empty:
            return np.full((height, width, 3), WHITE, np.uint8)
        level_downsample = self.info.level_downsamples[level]
        edges_l0 = (region_l0.x, region_l0.y, region_l0.right, region_l0.bottom)
        edges = [edge / level_downsample for edge in edges_l0]
        x, y = math.floor(edges[0]), math.floor(edges[1])
        rect = Rect(x, y, math.ceil(edges[2]) - x, math.ceil(edges[3]) - y)
        reduce = round(downsample / level_downsample)
        if reduce * level_downsample == downsample and all(edge.is_integer() for edge in edges):
            return self._reduced(level, rect, reduce)
        box = (edges[0] - x, edges[1] - y, edges[2] - x, edges[3] - y)
        # Averaging over boxes of hardly more than a pixel would repeat or drop pixels; a blend is smoother.
        box_is_wide = downsample >= 2 * level_downsample
        method = Image.Resampling.BOX if box_is_wide else Image.Resampling.BILINEAR
        return np.asarray(Image.fromarray(self._padded(level, rect)).resize((width, height), method, box=box))

    def _reduced(self, level: int, rect: Rect, reduce: int) -> NDArray[np.uint8]:
        """Read level pixels of `rect` averaged over reduce x reduce; what sticks out of the level is white.

        Where `rect` begins at multiples of `reduce`, as on a label grid, pixels do not depend on how much of
        it sticks out.
        """
        inside = rect.intersect(Rect.of(self._levels.sizes[level]))
        if inside == rect:
            return self._levels.read(level, rect, reduce)
        if (inside.x - rect.x) % reduce or (inside.y - rect.y) % reduce:
            return reduce_mean(self._padded(level, rect), reduce)
        whole = Rect(inside.x, inside.y, inside.width // reduce * reduce, inside.height // reduce * reduce)
        pixels = np.full((rect.height // reduce, rect.width // reduce, 3), WHITE, np.uint8)
        x, y = (whole.x - rect.x) // reduce, (whole.y - rect.y) // reduce
        columns, rows = whole.width // reduce, whole.height // reduce
        if not whole.is_empty:
            pixels[y : y + rows, x : x + columns] = self._levels.read(level, whole, reduce)
        # Along the level's right and lower edge, pixels that are partly white.
        if whole.right < inside.right:
            strip = Rect(whole.right, rect.y, reduce, rect.height)
            pixels[:, x + columns] = reduce_mean(self._padded(level, strip), reduce)[:, 0]
        if whole.bottom < inside.bottom:
            strip = Rect(rect.x, whole.bottom, rect.width, reduce)
            pixels[y + rows] = reduce_mean(self._padded(level, strip), reduce)[0]
        return pixels

    def _padded(self, level: int, rect: Rect) -> NDArray[np.uint8]:
        """Read level pixels of `rect`, white where it sticks out of the level."""
        inside = rect.intersect(Rect.of(self._levels.sizes[level]))
        pixels = np.full((rect.height, rect.width, 3), WHITE, np.uint8)
        if not inside.is_empty:
            x, y = inside.x - rect.x, inside.y - rect.y
            pixels[y : y + inside.height, x : x + inside.width] = self._levels.read(level, inside, 1)
        return pixels


def reduce_mean(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Average (H, W, 3) uint8 pixels over factor x factor px; sides are multiples of `factor`."""
    return pixels if factor == 1 else np.asarray(Image.fromarray(pixels).reduce(factor))


def level_downsamples(sizes: tuple[Size, ...]) -> tuple[float, ...]:
    """Return the l0 px per level px of each level.

    Levels of floor(w / r) or ceil(w / r) px are r-fold, exactly, or overlays would drift.
    """
    return tuple(_downsample(sizes[0], size) for size in sizes)


def _downsample(finest: Size, size: Size) -> float:
    ratios = (finest.width / size.width, finest.height / size.height)
    mean = sum(ratios) / 2
    # The longer side says more: at a level of 3 px even a true 4-fold reduction looks 10 % off.
    nearest = round(ratios[0] if finest.width >= finest.height else ratios[1])
    truncated = all(
        full // nearest <= part <= -(-full // nearest)
        for full, part in ((finest.width, size.width), (finest.height, size.height))
    )
    return float(nearest) if truncated else mean


def _blocks(region_l0: Rect, downsample: int, level_downsample: float) -> Iterator[Rect]:
    """Cut the region into row-major blocks of at most MAX_BLOCK_PX level px each (or one output pixel)."""
    side = max(1, int(math.sqrt(MAX_BLOCK_PX) * level_downsample / downsample)) * downsample
    for y in range(region_l0.y, region_l0.bottom, side):
        for x in range(region_l0.x, region_l0.right, side):
            yield Rect(x, y, side, side).intersect(region_l0)
