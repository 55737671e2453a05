"""Choose example regions for figures, where truth is most mixed, and keep what each network labels there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wsi.geometry import Rect

from ..data.annotated_slide import AnnotatedSlide
from .evaluate import Seen
from .regions import EvalPatch

MOST_SHARED = 0.25
"""Of the area of an example with another one of the same slide."""


@dataclass(frozen=True, slots=True)
class Example:
    """A region of a slide: pixels, truth, and the labels of each network by its name. 0 = no label."""

    slide: str
    rect: Rect
    """Label px; a patch lies inside the slide, a slice may stick out."""
    label_mpp: float
    """Um a label px."""
    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    truth: NDArray[np.uint8]
    """(H, W)."""
    labels: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    """(H, W) each."""


class Examples:
    """A few regions whose labels are kept while networks are evaluated.

    Memory: 4 + N bytes a label px of each.
    """

    def __init__(self, numbered: Sequence[tuple[int, Example]]) -> None:
        self._numbered = tuple(numbered)

    @property
    def all(self) -> tuple[Example, ...]:
        """In the order in which they were chosen."""
        return tuple(example for _, example in self._numbered)

    @classmethod
    def choose(cls, slides: Sequence[AnnotatedSlide], patches: Sequence[EvalPatch], count: int) -> Self:
        """Choose the patches whose truth is most evenly mixed, in turn from each slide.

        Of planned slices, the most mixed one of each. Regions that share more than a quarter with an earlier
        one are left out.
        """
        ranked: dict[int, list[EvalPatch]] = {}
        for patch in sorted(patches, key=lambda patch: -_mixture(np.array(patch.counts))):
            ranked.setdefault(patch.slide, []).append(patch)
        turns = max((len(own) for own in ranked.values()), default=0)
        order = [ranked[n][turn] for turn in range(turns) for n in sorted(ranked) if turn < len(ranked[n])]
        chosen: list[tuple[int, Rect]] = []
        for patch in order:
            rect = _shown(slides[patch.slide], patch)
            earlier = (other for number, other in chosen if number == patch.slide)
            if len(chosen) < count and not any(_share(rect, other) > MOST_SHARED for other in earlier):
                chosen.append((patch.slide, rect))
        return cls([(number, _example(slides[number], rect)) for number, rect in chosen])

    def catch(self, name: str) -> Seen:
        """Return a listener for `evaluate_patches` that keeps what network `name` labels in these regions."""
        for example in self.all:
            example.labels[name] = np.zeros_like(example.truth)

        def seen(patch: EvalPatch, labels: NDArray[np.uint8]) -> None:
            for number, example in self._numbered:
                if number == patch.slide:
                    for rect, own in zip(patch.view.slices, labels, strict=True):
                        _paste(example, name, rect, own)

        return seen


def _mixture(counts: NDArray[np.int64]) -> float:
    """Entropy of the classes times the pixels with truth: large where much of several classes is."""
    present = counts[counts > 0]
    return float((present * np.log(present.sum() / present)).sum())


def _shown(slide: AnnotatedSlide, patch: EvalPatch) -> Rect:
    """Return what a figure shows of a patch: its most mixed slice, or the whole, moved into the slide."""
    if patch.planned:
        return max(
            patch.view.slices, key=lambda one: _mixture(np.bincount(slide.read_truth(one).ravel())[1:])
        )
    frame, core = slide.grid.label_size, patch.core
    x, y = max(0, min(core.x, frame.width - core.width)), max(0, min(core.y, frame.height - core.height))
    return Rect(x, y, core.width, core.height).intersect(Rect.of(frame))


def _share(rect: Rect, other: Rect) -> float:
    return rect.intersect(other).size.pixels / rect.size.pixels


def _example(slide: AnnotatedSlide, rect: Rect) -> Example:
    return Example(slide.name, rect, slide.grid.label_mpp, slide.read_pixels(rect), slide.read_truth(rect))


def _paste(example: Example, name: str, rect: Rect, labels: NDArray[np.uint8]) -> None:
    part = rect.intersect(example.rect)
    if part.is_empty:
        return
    source, target = part.moved(-rect.x, -rect.y), part.moved(-example.rect.x, -example.rect.y)
    own = labels[source.y : source.bottom, source.x : source.right]
    example.labels[name][target.y : target.bottom, target.x : target.right] = own
