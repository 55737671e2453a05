"""What preparing slides yields: the index, and the figures people want to see of it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wsi.grid import Grid, InputGeometry
from wsi.palette import LabelClass
from wsi.tissue import TissueMask

from .index import SlideIndex
from .slices import Candidates, Quota, count_blocks, find_candidates, screen
from .splits import Cohort, SlideWithTruth


@dataclass(frozen=True, slots=True, eq=False)
class PreparedSlide:
    """One slide whose truth is written."""

    pair: SlideWithTruth
    mpp: float
    """Of the slide."""
    label_mpp: float
    pixels: tuple[int, ...]
    """Label px of each value 0..K."""
    candidates: Candidates
    notes: tuple[str, ...]
    """What a person should know of its files; nothing that stops the work."""
    seconds: float

    @classmethod
    def of(
        cls,
        pair: SlideWithTruth,
        grid: Grid,
        tissue: TissueMask,
        classes: Sequence[LabelClass],
        *,
        notes: tuple[str, ...] = (),
        started: float,
    ) -> "PreparedSlide":
        """A slide whose truth has been written; `started` is the `time.perf_counter()` of when that began.

        Raises CohortError for values in the truth that are no class.
        """
        blocks = count_blocks(pair.truth, len(classes))
        counts = blocks.sum(axis=(0, 1))
        counts[0] = grid.label_size.pixels - counts[1:].sum()  # without what blocks have beyond the slide
        return cls(
            pair=pair,
            mpp=grid.slide_mpp,
            label_mpp=grid.label_mpp,
            pixels=tuple(counts.tolist()),
            candidates=find_candidates(grid, blocks, tissue),
            notes=notes,
            seconds=time.perf_counter() - started,
        )


@dataclass(frozen=True, slots=True)
class PreparedSlides:
    """The slides of the three sets."""

    train: tuple[PreparedSlide, ...]
    validation: tuple[PreparedSlide, ...]
    test: tuple[PreparedSlide, ...]

    def sets(self) -> Mapping[str, Sequence[PreparedSlide]]:
        """By name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def index(
        self,
        source: str,
        classes: tuple[LabelClass, ...],
        geometry: InputGeometry,
        quotas: Mapping[str, Quota],
        *,
        seed: int,
    ) -> SlideIndex:
        """The index of these slides, with slices screened by `quotas`; a set without a quota has none planned.

        The same slides and seed give the same slices. Raises CohortError as Cohort does.
        """
        planned = {
            name: screen([s.candidates for s in slides], quotas[name], np.random.default_rng((seed, number)))
            if name in quotas
            else ()
            for number, (name, slides) in enumerate(self.sets().items())
        }
        pairs = {name: tuple(slide.pair for slide in slides) for name, slides in self.sets().items()}
        return SlideIndex(classes=classes, input=geometry, cohort=Cohort(**pairs), source=source, **planned)
