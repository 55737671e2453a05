"""Held-out slides through the very road of inference: Segmenter.label_patch, patch by patch."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from wsi.work_ahead import work_ahead

from ..card import CardClass, ModelCard
from ..data.annotated_slide import AnnotatedSlide
from ..data.cohort import SlideWithTruth, geometry_of
from ..errors import CohortError
from ..inference.segmenter import Segmenter
from .metrics import ConfusionMatrix
from .regions import EvalPatch, network_sides, patch_places

Labels = NDArray[np.uint8]
Seen = Callable[[EvalPatch, Labels], None]
"""Told of each place and the labels (N, S, S) of its squares."""


@dataclass(slots=True)
class Tally:
    """What was counted: over all patches, and over the mixed ones (places.MIXED_SHARE) again."""

    classes: int
    all: ConfusionMatrix = field(init=False)
    mixed: ConfusionMatrix = field(init=False)
    patches: int = field(init=False, default=0)
    mixed_patches: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.all, self.mixed = ConfusionMatrix(self.classes), ConfusionMatrix(self.classes)

    def feed(self, place: EvalPatch, labels: Labels, truth: Labels) -> None:
        """Count the squares of one place: two arrays (N, S, S)."""
        self.all.feed(labels, truth)
        self.patches += 1
        if place.mixed:
            self.mixed.feed(labels, truth)
            self.mixed_patches += 1

    def __add__(self, other: "Tally") -> "Tally":
        """What both have counted together."""
        total = Tally(self.classes)
        total.all, total.mixed = self.all + other.all, self.mixed + other.mixed
        total.patches = self.patches + other.patches
        total.mixed_patches = self.mixed_patches + other.mixed_patches
        return total


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One model over the slides of one set."""

    card: ModelCard
    device: str
    dtype: str
    seconds: float
    """From the first patch read to the last one counted."""
    slides: tuple[tuple[str, Tally], ...]
    """File name and counts of each slide."""

    @property
    def total(self) -> Tally:
        """Over all slides."""
        return reduce(add, (tally for _, tally in self.slides), Tally(len(self.card.classes)))


def evaluate(
    segmenter: Segmenter,
    slides: Sequence[SlideWithTruth],
    *,
    progress: Callable[[float], None] | None = None,
) -> ConfusionMatrix:
    """Confusion matrix of a model over all pixels with truth.

    Raises CohortError and the errors of wsi for slides that cannot be used.
    """
    with open_slides(segmenter.card, slides) as opened:
        places = patch_places(opened, len(segmenter.card.classes))
        return evaluate_places(segmenter, opened, places, progress=progress).total.all


def evaluate_places(
    segmenter: Segmenter,
    slides: Sequence[AnnotatedSlide],
    places: Sequence[EvalPatch],
    *,
    seen: Seen | None = None,
    progress: Callable[[float], None] | None = None,
) -> Evaluation:
    """Label and compare these places of these slides. `progress` gets fractions up to 1.

    Memory: two patch regions, one of them read ahead by a thread of its own. Raises InputError for truth values that the
    card has no class for, and the errors of wsi.
    """
    started = time.perf_counter()
    tallies = [Tally(len(segmenter.card.classes)) for _ in slides]
    with closing(work_ahead(_reader(slides), places, threads=1, depth=1)) as reading:
        for done, (place, (pixels, truth)) in enumerate(reading, start=1):
            labels = _labels(segmenter, slides[place.slide], place, pixels)
            tallies[place.slide].feed(place, labels, truth)
            if seen is not None:
                seen(place, labels)
            if progress is not None:
                progress(done / len(places))
    named = tuple((slide.name, tally) for slide, tally in zip(slides, tallies, strict=True))
    seconds = time.perf_counter() - started
    return Evaluation(segmenter.card, segmenter.device, segmenter.dtype, seconds, named)


@contextmanager
def open_slides(card: ModelCard, slides: Sequence[SlideWithTruth]) -> Iterator[list[AnnotatedSlide]]:
    """The slides, cut as the card wants them; closed in the end. Raises CohortError and the errors of wsi."""
    geometry = geometry_of(card.input)
    with ExitStack() as stack:
        yield [stack.enter_context(AnnotatedSlide.open(pair, geometry)) for pair in slides]


def check_classes(card: ModelCard, classes: Sequence[CardClass]) -> None:
    """Raise CohortError unless the card has the classes of the truth, by value and name."""
    own, true = ({c.value: c.name for c in entries} for entries in (card.classes, classes))
    if own != true:
        raise CohortError(
            f"{card.name} has the classes {own}, the truth {true}. Give it slides with truth of its own classes."
        )


def _labels(segmenter: Segmenter, slide: AnnotatedSlide, place: EvalPatch, pixels: Labels) -> Labels:
    """(N, S, S) of the squares of a place."""
    slice_px, context_px = network_sides(slide, place, segmenter.card.input)
    return segmenter.label_patch(
        pixels,
        place.corners,
        window_px=place.window_px,
        halo_px=place.halo_px,
        slice_network_px=slice_px,
        context_network_px=context_px,
    )


def _reader(slides: Sequence[AnnotatedSlide]) -> Callable[[EvalPatch], tuple[Labels, Labels]]:
    """What reads a place: its pixels (H, W, 3) and the truth (N, S, S) of its squares."""

    def read(place: EvalPatch) -> tuple[Labels, Labels]:
        slide = slides[place.slide]
        truth = np.stack([slide.read_truth(square) for square in place.squares])
        return slide.read_pixels(place.region), truth

    return read
