"""Prepared slides: pixel counts and candidate slices, and the index made from them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wsi.grid import Grid, InputGeometry
from wsi.palette import LabelClass
from wsi.tissue import TissueMask

from .index import SlideIndex
from .slices import Candidates, Quota, count_blocks, find_candidates, screen
from .splits import Cohort, SlideWithTruth

Progress = Callable[[str, float], None]
"""Callback that gets a slide's name and the fraction of it that is done, 0..1."""


def unheard(_name: str, _done: float) -> None:
    """Ignore progress."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedSlide:
    """Slide with its truth on disk, counted."""

    pair: SlideWithTruth
    mpp: float
    """Pixel size of the slide, um per l0 px."""
    label_mpp: float
    """Pixel size of the truth, um per label px."""
    pixels: tuple[int, ...]
    """Number of label px of each value 0..K."""
    candidates: Candidates
    notes: tuple[str, ...]
    """Oddities of its files for a person to read; none stops the work."""
    seconds: float
    """Time that preparing it took."""

    @classmethod
    def of(
        cls,
        pair: SlideWithTruth,
        grid: Grid,
        tissue: TissueMask,
        classes: Sequence[LabelClass],
        *,
        background: int | None,
        notes: tuple[str, ...] = (),
        started: float,
    ) -> "PreparedSlide":
        """Count the truth of a slide and find its candidate slices.

        `background` is the class of which bare glass is left out (see `find_candidates`). `started` is the
        `time.perf_counter()` of when work on the slide began.

        Raises:
            CohortError: The truth has values that are no class.
        """
        blocks = count_blocks(pair.truth, classes)
        counts = blocks.sum(axis=(0, 1))
        counts[0] = grid.label_size.pixels - counts[1:].sum()  # without what blocks have beyond the slide
        return cls(
            pair=pair,
            mpp=grid.slide_mpp,
            label_mpp=grid.label_mpp,
            pixels=tuple(counts.tolist()),
            candidates=find_candidates(grid, blocks, tissue, background=background),
            notes=notes,
            seconds=time.perf_counter() - started,
        )


@dataclass(frozen=True, slots=True)
class PreparedSlides:
    """Prepared slides of the three sets."""

    train: tuple[PreparedSlide, ...]
    validation: tuple[PreparedSlide, ...]
    test: tuple[PreparedSlide, ...]

    def sets(self) -> Mapping[str, Sequence[PreparedSlide]]:
        """Return the slides by the name of their set."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def untaught(self, classes: Sequence[LabelClass]) -> tuple[str, ...]:
        """Return the names of the classes of which no slide to train on has a pixel."""
        return tuple(
            entry.name for entry in classes if not any(slide.pixels[entry.value] for slide in self.train)
        )

    def index(
        self,
        source: str,
        classes: tuple[LabelClass, ...],
        geometry: InputGeometry,
        quotas: Mapping[str, Quota],
        *,
        seed: int,
    ) -> SlideIndex:
        """Return the index of these slides, with slices screened by `quotas`.

        A set without a quota has no planned slices. The same slides and seed give the same slices.

        Raises:
            CohortError: A set that is needed is empty, or two sets share a slide.
        """
        planned = {
            name: screen([s.candidates for s in slides], quotas[name], np.random.default_rng((seed, number)))
            if name in quotas
            else ()
            for number, (name, slides) in enumerate(self.sets().items())
        }
        pairs = {name: tuple(slide.pair for slide in slides) for name, slides in self.sets().items()}
        return SlideIndex(
            classes=classes,
            input=geometry,
            cohort=Cohort(**pairs),
            source=source,
            train=planned["train"],
            validation=planned["validation"],
            test=planned["test"],
        )
