"""Evaluate several networks on one set of an index, with example regions for a figure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from ..card import ModelCard
from ..data.annotated_slide import AnnotatedSlide
from ..data.index import SlideIndex
from ..data.splits import SlideWithTruth
from ..errors import CohortError, InputError
from ..inference.segmenter import Segmenter
from .calibration import calibrate, calibration_error, sample_logits
from .evaluate import Evaluation, check_classes, evaluate_patches, open_slides
from .examples import Examples
from .regions import EvalPatch, all_patches

SetName = Literal["train", "validation", "test"]
On = Literal["slices", "slides"]


@dataclass(frozen=True, slots=True)
class Task:
    """The slides or slices that networks are evaluated on."""

    index: SlideIndex
    set_name: SetName
    on: On
    """"slices": the planned ones, each with its patch as context, as the paper does. "slides": every pixel
    with truth, by patches and tiles, as the service does."""
    patches_per_slide: int | None = None
    """At most so many of each slide, evenly spread; None for all."""

    @classmethod
    def of(
        cls,
        index: SlideIndex,
        set_name: SetName,
        *,
        on: On | None = None,
        patches_per_slide: int | None = None,
    ) -> "Task":
        """Choose what to evaluate on: slices where `on` is None and the index plans some.

        Raises:
            CohortError: there is nothing to evaluate on.
        """
        if not getattr(index.cohort, set_name):
            filled = [name for name in ("test", "validation", "train") if getattr(index.cohort, name)]
            raise CohortError(
                f"the index has no slides in its {set_name} set; take --set {' or '.join(filled)}"
            )
        planned = bool(getattr(index, set_name))
        if on == "slices" and not planned:
            raise CohortError(f"the index plans no slices for its {set_name} set; take --on slides")
        return cls(index, set_name, on or ("slices" if planned else "slides"), patches_per_slide)

    @property
    def slides(self) -> tuple[SlideWithTruth, ...]:
        """Of the set."""
        pairs: tuple[SlideWithTruth, ...] = getattr(self.index.cohort, self.set_name)
        return pairs

    def patches(self, slides: Sequence[AnnotatedSlide]) -> list[EvalPatch]:
        """Return the patches of these opened slides to label and compare."""
        planned = getattr(self.index, self.set_name) if self.on == "slices" else ()
        classes = len(self.index.classes)
        return all_patches(slides, planned, classes, patches_per_slide=self.patches_per_slide)


def evaluate_index(
    cards: Sequence[Path],
    task: Task,
    *,
    examples: int = 4,
    device: str = "auto",
    precision: str = "auto",
    progress: Callable[[str, float], None] | None = None,
) -> tuple[list[Evaluation], Examples]:
    """Evaluate each card's network on the same task.

    Returns an evaluation a network, and up to `examples` regions with what each network labelled there.
    `progress` gets the network's name and its fraction done.

    Raises:
        CohortError: the set has no pixel with truth, or other classes than a card.
        InputError: two cards have one name, or a truth value has no class.
        CardError: a card cannot be read.
        WeightsError: weights cannot be read or are not the card's.
        DeviceError: the device is not there.
        WsiError: a slide or truth cannot be read.
    """
    _check_names([ModelCard.load(path) for path in cards])
    evaluations: list[Evaluation] = []
    chosen: Examples | None = None
    for path in cards:
        segmenter = Segmenter.load(path, device=device, precision=precision)
        name = segmenter.card.name
        check_classes(segmenter.card, task.index.classes)
        report = None if progress is None else partial(progress, name)
        with open_slides(segmenter.card, task.slides) as slides:
            patches = task.patches(slides)
            if not patches:
                raise CohortError(f"the {task.set_name} set has no pixel with truth; add slides that do")
            chosen = chosen or Examples.choose(slides, patches, examples)
            found = evaluate_patches(segmenter, slides, patches, seen=chosen.catch(name), progress=report)
            error = calibration_error(sample_logits(segmenter, slides, patches), segmenter.card)
            evaluations.append(replace(found.grouped(task.slides), calibration=error))
    return evaluations, chosen or Examples(())


def calibrate_card(path: Path, index: SlideIndex, set_name: SetName, *, device: str = "auto") -> ModelCard:
    """Fit the temperature of a card on the validation slides of an index, measure it on a set, and save it.

    Raises:
        CohortError: A set is empty, has no pixel with truth, or other classes than the card.
        ModelError: Card, weights or device cannot be used.
        WsiError: A slide or truth cannot be read.
    """
    segmenter = Segmenter.load(path, device=device, precision="fp32")
    check_classes(segmenter.card, index.classes)
    samples = []
    for name in ("validation", set_name):
        task = Task.of(index, name)
        with open_slides(segmenter.card, task.slides) as slides:
            samples.append(sample_logits(segmenter, slides, task.patches(slides)))
    found = calibrate(*samples, fitted_on="validation", measured_on=set_name)
    if found is None:
        raise CohortError("no pixel with truth to calibrate on; add slides that have some")
    card = replace(segmenter.card, calibration=found)
    card.save(path)
    return card


def _check_names(cards: Sequence[ModelCard]) -> None:
    names = [card.name for card in cards]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(
            f"several cards are called {', '.join(twice)}; results are filed by name, so give each its own"
        )
