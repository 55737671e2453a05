"""Read pixels, context and truth of an annotated slide: on demand from two open files, or from memory."""

from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from wsi.geometry import Rect
from wsi.grid import Grid, InputGeometry, make_grid
from wsi.patch_view import PatchView
from wsi.reading.patch_pixels import PatchPixels, read_patch, read_reduced
from wsi.reading.pixels_in_memory import slide_in_memory
from wsi.reading.slide import Slide, open_slide
from wsi.writing.label_tiff import LabelTiff

from ..errors import CohortError
from .splits import SlideWithTruth

KEPT_PX = 2**20
"""Most label px of a slide that is kept in memory, 4 MB: thousands of small images would be thousands of open
files, and decoding them anew for every batch takes longer than training on them."""


class Truth(Protocol):
    """True class of every label px."""

    def read(self, rect: Rect, /) -> NDArray[np.uint8]:
        """Read the values (H, W) uint8 of a rectangle in label px, 0 outside the map: a new array."""

    def bands(self) -> Iterator[tuple[Rect, NDArray[np.uint8]]]:
        """Yield the whole map from top to bottom: (label px, values (H, W))."""

    def close(self) -> None:
        """Release the file."""


class AnnotatedSlide:
    """Slide and truth, read in label px.

    Rectangles may stick out of the slide. Thread-safe. A context manager.
    """

    def __init__(self, name: str, grid: Grid, slide: Slide, truth: Truth, *, downsample: int) -> None:
        """Take an open slide and its truth; `downsample` is the l0 px of `slide` along a label px."""
        self.name = name
        self.grid = grid
        self._slide = slide
        self._truth = truth
        self._downsample = downsample

    @classmethod
    def open(cls, pair: SlideWithTruth, geometry: InputGeometry) -> Self:
        """Open the slide and its truth; those of at most KEPT_PX are read at once, and their files closed.

        Raises:
            CohortError: The truth does not lie on the slide's grid, or the slide's mpp is unknown.
            WsiError: A file cannot be read.
        """
        with ExitStack() as opened:
            slide = opened.enter_context(open_slide(pair.slide))
            if slide.info.mpp is None:
                raise CohortError(f"{pair.slide.name}: pixel size unknown. Add resolution tags to the file.")
            grid = make_grid(slide.info.size, slide.info.mpp.value, geometry)
            truth = opened.enter_context(LabelTiff(pair.truth))
            if truth.size != grid.label_size:
                raise CohortError(
                    f"{pair.truth.name} has {truth.size.width} x {truth.size.height} px; the label grid of "
                    f"{pair.slide.name} has {grid.label_size.width} x {grid.label_size.height}. "
                    "Make the truth at the model's mpp."
                )
            if grid.label_size.pixels <= KEPT_PX:
                return cls._kept(pair.slide.name, grid, slide, truth)
            opened.pop_all()
        return cls(pair.slide.name, grid, slide, truth, downsample=grid.downsample)

    @classmethod
    def _kept(cls, name: str, grid: Grid, slide: Slide, truth: LabelTiff) -> Self:
        """Return the slide read whole, at label px."""
        whole, n = Rect.of(grid.label_size), grid.downsample
        pixels = slide.read_region(whole.scaled(n), n)
        kept = _TruthInMemory(truth.read(whole))
        return cls(name, grid, slide_in_memory(pixels, slide.info), kept, downsample=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close both files."""
        self._slide.close()
        self._truth.close()

    def read_pixels(self, square: Rect) -> NDArray[np.uint8]:
        """Return RGB (H, W, 3) uint8 of a rectangle in label px; white outside the slide."""
        n = self._downsample
        return self._slide.read_region(square.scaled(n), n)

    def read_patch(self, view: PatchView) -> PatchPixels:
        """Read the pixels that a network sees of a patch; see wsi.reading.patch_pixels."""
        return read_patch(self._slide, view, self._downsample)

    def read_context(self, region: Rect, side_px: int) -> NDArray[np.uint8]:
        """Read a region (label px) reduced to (side_px, side_px, 3) RGB, area-averaged."""
        return read_reduced(self._slide, region, self._downsample, side_px)

    def read_truth(self, square: Rect) -> NDArray[np.uint8]:
        """Return a copy of the class values (H, W) uint8 of a rectangle in label px; 0 outside the slide."""
        return self._truth.read(square)

    def truth_cells(self, step: int) -> NDArray[np.uint8]:
        """Return the truth at the middle of each cell of `step` label px a side.

        Cell (row, column) stands for label px (row, column) * step + step // 2. Cells at the right and lower
        edge whose middle lies outside the slide are left out. A class that lies between all middles is put
        into the cells whose squares hold it, so that every class of the slide is found. Reads the whole truth
        once; twice where there is such a class.
        """
        middle, rows, present = step // 2, [], np.zeros(256, np.bool_)
        for rect, band in self._truth.bands():
            rows.append(band[(middle - rect.y) % step :: step, middle::step])
            present |= np.bincount(band.ravel(), minlength=256) > 0
        cells = np.ascontiguousarray(np.concatenate(rows))
        present[[0, *np.unique(cells)]] = False
        if present.any() and cells.size:
            for rect, band in self._truth.bands():
                y, x = np.nonzero(present[band])
                row, column = (y + rect.y) // step, x // step
                cells[np.minimum(row, len(cells) - 1), np.minimum(column, cells.shape[1] - 1)] = band[y, x]
        return cells


class _TruthInMemory:
    """Truth that is an array (H, W) uint8."""

    def __init__(self, labels: NDArray[np.uint8]) -> None:
        self._labels = labels

    def read(self, rect: Rect) -> NDArray[np.uint8]:
        values = np.zeros((rect.height, rect.width), np.uint8)
        height, width = self._labels.shape
        inside = rect.intersect(Rect(0, 0, width, height))
        x, y = inside.x - rect.x, inside.y - rect.y
        values[y : y + inside.height, x : x + inside.width] = self._labels[
            inside.y : inside.bottom, inside.x : inside.right
        ]
        return values

    def bands(self) -> Iterator[tuple[Rect, NDArray[np.uint8]]]:
        height, width = self._labels.shape
        yield Rect(0, 0, width, height), self._labels

    def close(self) -> None:
        """Do nothing: the array goes with its last reference."""
