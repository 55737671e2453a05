"""Measure the search for tissue: seconds of a slide, seconds and memory of a slide of 100 000 px.

`python -m benchmarks.decisions.tissue_search --slide SLIDE`; of the large slide pixels cost nothing to read.
"""

import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from wsi.geometry import Rect, Size
from wsi.grid import InputGeometry, make_grid
from wsi.phantom import write_phantom
from wsi.reading.slide import open_slide
from wsi.reading.slide_info import SlideInfo
from wsi.tissue import find_tissue

CARD = InputGeometry(mpp=0.934, context_ratio=5, slices_per_side=5, halo_px=64)
SIDE_PX, MPP = 100_000, 0.25
REPEATS = 15


class TiledSlide:
    """A slide of 100 000 px that repeats the same pixels at every scale."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        size = Size(SIDE_PX, SIDE_PX)
        self.info = SlideInfo("tiled", "tiff", size, (1.0,), None, None, Rect.of(size))
        self._pixels = pixels

    def read_region(self, rect: Rect, downsample: int) -> NDArray[np.uint8]:
        """Return a rectangle of level-0 px at a scale."""
        height, width = self._pixels.shape[:2]
        rows = (rect.y // downsample + np.arange(rect.height // downsample)) % height
        columns = (rect.x // downsample + np.arange(rect.width // downsample)) % width
        return np.ascontiguousarray(self._pixels[rows][:, columns])


def times(slide: Any, mpp: float) -> str:
    """Return the shortest and the median time of a search as text."""
    grid, taken = make_grid(slide.info.size, mpp, CARD), []
    for _ in range(REPEATS):
        start = time.perf_counter()
        tissue = find_tissue(slide, grid)
        taken.append(time.perf_counter() - start)
    px_um = tissue.downsample * mpp
    return f"{min(taken):.3f} s, median {np.median(taken):.3f} s, mask of {px_um:.1f} um a pixel"


@click.command()
@click.option("--slide", type=click.Path(exists=True, path_type=Path))
def main(slide: Path | None) -> None:
    """Print the times."""
    if slide is not None:
        with open_slide(slide) as opened:
            assert opened.info.mpp is not None
            click.echo(f"{slide.name}: {times(opened, opened.info.mpp.value)}")
    with tempfile.TemporaryDirectory() as folder:
        write_phantom(Path(folder) / "phantom.tif", size_px=12288, seed=5)
        with open_slide(Path(folder) / "phantom.tif") as phantom:
            large = TiledSlide(phantom.read_region(Rect.of(phantom.info.size), 16))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    click.echo(f"{SIDE_PX} px, nothing read: {times(large, MPP)}")
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    click.echo(f"Memory: {more / 1024:.0f} MB more than before")


if __name__ == "__main__":
    main()
