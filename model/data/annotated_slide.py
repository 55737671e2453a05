"""Read pixels, context and truth of an annotated slide on demand; only two open files are kept."""

from contextlib import ExitStack
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wsi.geometry import Rect, ceil_div
from wsi.grid import Grid, InputGeometry, make_grid
from wsi.reading.slide import Slide, open_slide
from wsi.writing.label_tiff import LabelTiff

from ..errors import CohortError
from .splits import SlideWithTruth


class AnnotatedSlide:
    """Slide and truth, read in label px.

    Rectangles may stick out of the slide. Thread-safe. A context manager.
    """

    def __init__(self, name: str, grid: Grid, slide: Slide, truth: LabelTiff) -> None:
        self.name = name
        self.grid = grid
        self._slide = slide
        self._truth = truth

    @classmethod
    def open(cls, pair: SlideWithTruth, geometry: InputGeometry) -> Self:
        """Open the slide and its truth.

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
            opened.pop_all()
        return cls(pair.slide.name, grid, slide, truth)

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
        n = self.grid.downsample
        return self._slide.read_region(square.scaled(n), n)

    def read_context(self, region: Rect, side_px: int) -> NDArray[np.uint8]:
        """Return a square region (label px) as context: (side_px, side_px, 3) RGB uint8, area-averaged.

        Inference reduces the pixels it has decoded for the slices; here they would be decoded for nothing
        else, so the slide's own reduced levels are read. Both agree to about a grey value.
        """
        reduce = 1 << max(0, int(region.width / side_px / 2).bit_length() - 1)
        x, y = region.x // reduce, region.y // reduce
        around = Rect(x, y, ceil_div(region.right, reduce) - x, ceil_div(region.bottom, reduce) - y)
        n = self.grid.downsample * reduce
        overview = self._slide.read_region(around.scaled(n), n)
        left, top, width = region.x / reduce - x, region.y / reduce - y, region.width / reduce
        down, across = (
            _shares(start, width, side_px, length)
            for start, length in ((top, len(overview)), (left, overview.shape[1]))
        )
        rows = down @ overview.reshape(len(overview), -1).astype(np.float32)
        columns = across @ rows.reshape(side_px, -1, 3).swapaxes(0, 1).reshape(overview.shape[1], -1)
        context: NDArray[np.uint8] = np.rint(columns).astype(np.uint8).reshape(side_px, side_px, 3)
        return context.swapaxes(0, 1)

    def read_truth(self, square: Rect) -> NDArray[np.uint8]:
        """Return a copy of the class values (H, W) uint8 of a rectangle in label px; 0 outside the slide."""
        return self._truth.read(square)

    def truth_cells(self, step: int) -> NDArray[np.uint8]:
        """Return the truth at every `step`-th label px of both axes, from (0, 0).

        Reads the whole truth once.
        """
        rows = [band[-rect.y % step :: step, ::step] for rect, band in self._truth.bands()]
        return np.ascontiguousarray(np.concatenate(rows))


def _shares(start: float, width: float, cells: int, length: int) -> NDArray[np.float32]:
    """Return averaging weights (cells, length): the share of each cell that each pixel covers.

    The cells are `cells` equal parts of [start, start + width); the pixels are [0, 1), ..., up to `length`.
    Pillow's box filter counts a pixel wholly or not at all: at two or three pixels a cell that is off by
    several grey values.
    """
    edges = start + np.linspace(0, width, cells + 1)[:, None]
    px = np.arange(length)
    covered = np.minimum(edges[1:], px + 1) - np.maximum(edges[:-1], px)
    shares: NDArray[np.float32] = (np.clip(covered, 0, None) * (cells / width)).astype(np.float32)
    return shares
