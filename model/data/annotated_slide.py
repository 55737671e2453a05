"""Read pixels, context and truth of an annotated slide on demand; only two open files are kept."""

from contextlib import ExitStack
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wsi.geometry import Rect
from wsi.grid import Grid, InputGeometry, make_grid
from wsi.patch_view import PatchView
from wsi.reading.patch_pixels import PatchPixels, read_patch, read_reduced
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

    def read_patch(self, view: PatchView) -> PatchPixels:
        """Read the pixels that a network sees of a patch; see wsi.reading.patch_pixels."""
        return read_patch(self._slide, view, self.grid.downsample)

    def read_context(self, region: Rect, side_px: int) -> NDArray[np.uint8]:
        """Read a region (label px) reduced to (side_px, side_px, 3) RGB, area-averaged."""
        return read_reduced(self._slide, region, self.grid.downsample, side_px)

    def read_truth(self, square: Rect) -> NDArray[np.uint8]:
        """Return a copy of the class values (H, W) uint8 of a rectangle in label px; 0 outside the slide."""
        return self._truth.read(square)

    def truth_cells(self, step: int) -> NDArray[np.uint8]:
        """Return the truth at every `step`-th label px of both axes, from (0, 0).

        A class that lies between them all is entered in the cells whose squares hold it, so that every class
        of the slide is found. Reads the whole truth once; twice where there is such a class.
        """
        rows, present = [], np.zeros(256, np.bool_)
        for rect, band in self._truth.bands():
            rows.append(band[-rect.y % step :: step, ::step])
            present |= np.bincount(band.ravel(), minlength=256) > 0
        cells = np.ascontiguousarray(np.concatenate(rows))
        present[[0, *np.unique(cells)]] = False
        if present.any():
            for rect, band in self._truth.bands():
                y, x = np.nonzero(present[band])
                cells[(y + rect.y) // step, x // step] = band[y, x]
        return cells
