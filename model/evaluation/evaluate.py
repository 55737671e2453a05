"""Evaluate a network on annotated slides, patch by patch, by the code that inference runs."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from wsi.palette import LabelClass
from wsi.reading.patch_pixels import PatchPixels
from wsi.work_ahead import work_ahead

from ..card import ModelCard
from ..data.annotated_slide import AnnotatedSlide
from ..data.splits import SlideWithTruth
from ..errors import CohortError
from ..inference.segmenter import Segmenter
from .metrics import ConfusionMatrix
from .regions import EvalPatch

Labels = NDArray[np.uint8]
Seen = Callable[[EvalPatch, Labels], None]
"""Called with each patch and the labels (N, S, S) of its slices."""


@dataclass(slots=True)
class Tally:
    """Confusion matrices: over all patches, and over the mixed ones (regions.MIXED_SHARE) again."""

    classes: int
    all: ConfusionMatrix = field(init=False)
    mixed: ConfusionMatrix = field(init=False)
    patches: int = field(init=False, default=0)
    mixed_patches: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.all, self.mixed = ConfusionMatrix(self.classes), ConfusionMatrix(self.classes)

    def feed(self, patch: EvalPatch, labels: Labels, truth: Labels) -> None:
        """Count the slices of one patch: two arrays (N, S, S)."""
        self.all.feed(labels, truth)
        self.patches += 1
        if patch.mixed:
            self.mixed.feed(labels, truth)
            self.mixed_patches += 1

    def __add__(self, other: "Tally") -> "Tally":
        """Add the counts of two tallies."""
        total = Tally(self.classes)
        total.all, total.mixed = self.all + other.all, self.mixed + other.mixed
        total.patches = self.patches + other.patches
        total.mixed_patches = self.mixed_patches + other.mixed_patches
        return total


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """Expected calibration error (see card.Calibration) of a model on one set, 0..1."""

    temperature: float
    """Of the card; 1 where it has none."""
    error: float
    error_uncalibrated: float
    """The same at temperature 1."""
    pixels: int
    """Number of pixels looked at."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One model over the slides of one set."""

    card: ModelCard
    device: str
    dtype: str
    seconds: float
    """From the first patch read to the last one counted."""
    slides: tuple[tuple[str, Tally], ...]
    """File name and counts of each slide, or name and counts of each group of them (`grouped`)."""
    calibration: CalibrationError | None = None
    """None where it was not measured."""
    unit: str = "slide"
    """What a name in `slides` stands for."""

    def grouped(self, pairs: Sequence[SlideWithTruth]) -> "Evaluation":
        """Add up the slides of each group, such as a patient; `pairs` are those of `slides`, in their order.

        Slides without a group stay by themselves.
        """
        tallies: dict[str, Tally] = {}
        for pair, (name, tally) in zip(pairs, self.slides, strict=True):
            known = tallies.get(pair.group or name)
            tallies[pair.group or name] = tally if known is None else known + tally
        unit = "group" if any(pair.group for pair in pairs) else self.unit
        return replace(self, slides=tuple(tallies.items()), unit=unit)

    @property
    def total(self) -> Tally:
        """Over all slides."""
        return reduce(add, (tally for _, tally in self.slides), Tally(len(self.card.classes)))


def evaluate_patches(
    segmenter: Segmenter,
    slides: Sequence[AnnotatedSlide],
    patches: Sequence[EvalPatch],
    *,
    seen: Seen | None = None,
    progress: Callable[[float], None] | None = None,
) -> Evaluation:
    """Label these patches of these slides and compare them with their truth.

    `progress` gets fractions up to 1. Memory: two patch regions, one of them read ahead by a thread.

    Raises:
        InputError: the card has no class for a value of the truth.
        WsiError: a slide or truth cannot be read.
    """
    started = time.perf_counter()
    tallies = [Tally(len(segmenter.card.classes)) for _ in slides]
    with closing(work_ahead(patch_reader(slides), patches, threads=1, depth=1)) as reading:
        for done, (patch, (pixels, truth)) in enumerate(reading, start=1):
            labels = segmenter.label_patch(pixels.region, patch.view, context=pixels.context)
            tallies[patch.slide].feed(patch, labels, truth)
            if seen is not None:
                seen(patch, labels)
            if progress is not None:
                progress(done / len(patches))
    named = tuple((slide.name, tally) for slide, tally in zip(slides, tallies, strict=True))
    seconds = time.perf_counter() - started
    return Evaluation(segmenter.card, segmenter.device, segmenter.dtype, seconds, named)


@contextmanager
def open_slides(card: ModelCard, slides: Sequence[SlideWithTruth]) -> Iterator[list[AnnotatedSlide]]:
    """Open slides with their truth, cut as the card wants them; they are closed in the end.

    Raises:
        CohortError: a truth does not lie on its slide's grid, or a pixel size is unknown.
        WsiError: a slide or truth cannot be read.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(AnnotatedSlide.open(pair, card.input)) for pair in slides]


def check_classes(card: ModelCard, classes: Sequence[LabelClass]) -> None:
    """Check that the card has the classes of the truth, by value and name.

    Raises:
        CohortError: it has not.
    """
    if [(c.value, c.name) for c in card.classes] == [(c.value, c.name) for c in classes]:
        return
    own, true = ([entry.name for entry in entries] for entries in (card.classes, classes))
    problem = f"{card.name} has the classes {', '.join(own)}, the truth {', '.join(true)}"
    if own != true and sorted(own) == sorted(true):
        problem += ": the same ones in another order"
    raise CohortError(f"{problem}. Give it slides with truth of its own classes.")


def patch_reader(slides: Sequence[AnnotatedSlide]) -> Callable[[EvalPatch], tuple[PatchPixels, Labels]]:
    """Return a function that reads a patch: its pixels, and the truth (N, S, S) of its slices."""

    def read(patch: EvalPatch) -> tuple[PatchPixels, Labels]:
        slide = slides[patch.slide]
        truth = np.stack([slide.read_truth(rect) for rect in patch.view.slices])
        return slide.read_patch(patch.view), truth

    return read
