"""Example places for a picture: where truth is most mixed, with what each network made of them."""

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
    """One square of a slide: pixels, truth, and the labels of each network by its name. 0 = no label."""

    slide: str
    square: Rect
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
    """A few squares whose labels are caught while networks are evaluated. Memory: 4 + N bytes a label px of each."""

    def __init__(self, numbered: Sequence[tuple[int, Example]]) -> None:
        self._numbered = tuple(numbered)

    @property
    def all(self) -> tuple[Example, ...]:
        """In the order in which they were chosen."""
        return tuple(example for _, example in self._numbered)

    @classmethod
    def choose(cls, slides: Sequence[AnnotatedSlide], places: Sequence[EvalPatch], count: int) -> Self:
        """The patches whose truth is most evenly mixed, in turn from each slide; of planned slices, the most mixed one of
        each. Squares that share more than a quarter with an earlier one are left out."""
        ranked: dict[int, list[EvalPatch]] = {}
        for place in sorted(places, key=lambda place: -_mixture(np.array(place.counts))):
            ranked.setdefault(place.slide, []).append(place)
        turns = max((len(own) for own in ranked.values()), default=0)
        order = [ranked[n][turn] for turn in range(turns) for n in sorted(ranked) if turn < len(ranked[n])]
        chosen: list[tuple[int, Rect]] = []
        for place in order:
            square = _square(slides[place.slide], place)
            earlier = (other for number, other in chosen if number == place.slide)
            if len(chosen) < count and not any(_share(square, other) > MOST_SHARED for other in earlier):
                chosen.append((place.slide, square))
        return cls([(number, _example(slides[number], square)) for number, square in chosen])

    def catch(self, name: str) -> Seen:
        """A listener for `evaluate_places` that keeps what network `name` labels in these squares."""
        for example in self.all:
            example.labels[name] = np.zeros_like(example.truth)

        def seen(place: EvalPatch, labels: NDArray[np.uint8]) -> None:
            for number, example in self._numbered:
                if number == place.slide:
                    for square, own in zip(place.squares, labels, strict=True):
                        _paste(example, name, square, own)

        return seen


def _mixture(counts: NDArray[np.int64]) -> float:
    """Entropy of the classes times the pixels with truth: large where much of several classes is."""
    present = counts[counts > 0]
    return float((present * np.log(present.sum() / present)).sum())


def _square(slide: AnnotatedSlide, place: EvalPatch) -> Rect:
    """What is shown of a place: the slice whose truth is most mixed, or the patch, moved into the slide."""
    if place.planned:
        squares = place.squares
        return max(squares, key=lambda one: _mixture(np.bincount(slide.read_truth(one).ravel())[1:]))
    frame, patch = slide.grid.label_size, place.patch
    x, y = max(0, min(patch.x, frame.width - patch.width)), max(0, min(patch.y, frame.height - patch.height))
    return Rect(x, y, patch.width, patch.height).intersect(Rect.of(frame))


def _share(square: Rect, other: Rect) -> float:
    return square.intersect(other).size.pixels / square.size.pixels


def _example(slide: AnnotatedSlide, square: Rect) -> Example:
    return Example(
        slide.name, square, slide.grid.label_mpp, slide.read_pixels(square), slide.read_truth(square)
    )


def _paste(example: Example, name: str, square: Rect, labels: NDArray[np.uint8]) -> None:
    part = square.intersect(example.square)
    if part.is_empty:
        return
    source, target = part.moved(-square.x, -square.y), part.moved(-example.square.x, -example.square.y)
    own = labels[source.y : source.bottom, source.x : source.right]
    example.labels[name][target.y : target.bottom, target.x : target.right] = own
