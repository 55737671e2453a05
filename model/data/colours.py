"""Measure the colours of training slides, for the card: jobs warn of slides that look otherwise."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wsi.appearance import tissue_appearance
from wsi.grid import InputGeometry, make_grid
from wsi.plan import make_plan
from wsi.reading.slide import open_slide
from wsi.tissue import find_tissue

from ..card import ColourStatistics
from .splits import SlideWithTruth

MOST_SLIDES = 32
"""Slides looked at, evenly spread over the cohort."""


def colour_statistics(slides: Sequence[SlideWithTruth], geometry: InputGeometry) -> ColourStatistics | None:
    """Return the optical density of the slides' tissue as jobs measure it; None if fewer than two show some.

    Raises:
        WsiError: A slide cannot be read.
    """
    seen = []
    chosen = np.linspace(0, len(slides) - 1, min(MOST_SLIDES, len(slides))).round().astype(int)
    for number in chosen.tolist():
        with open_slide(slides[number].slide) as slide:
            assert slide.info.mpp is not None, "slides without one are refused before the training"
            grid = make_grid(slide.info.size, slide.info.mpp.value, geometry)
            tissue = find_tissue(slide, grid)
            look = tissue_appearance(slide, make_plan(grid, tissue), tissue)
        if look is not None:
            seen.append(look.optical_density)
    if len(seen) < 2:
        return None
    return ColourStatistics(_three(np.mean(seen, axis=0)), _three(np.std(seen, axis=0, ddof=1)))


def _three(values: NDArray[np.float64]) -> tuple[float, float, float]:
    red, green, blue = (round(float(value), 4) for value in values)
    return red, green, blue
