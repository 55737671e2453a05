"""Segmentation metrics (paper section IV-B, Eq. 9-11) from one streamed K x K confusion matrix."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError


@dataclass(frozen=True, slots=True)
class Metrics:
    """Scores in 0..1.

    NaN stands for 0/0: a class that is neither in the truth nor predicted, or no pixel at all.
    """

    iou: tuple[float, ...]
    """Per class, in the card's order; 0 for a class without truth that is predicted all the same."""
    in_truth: tuple[bool, ...]
    """Whether the truth holds a class: without it, its IoU is no score of it."""
    miou: float
    """Mean over the classes that are in the truth or predicted: one pixel predicted of a class that the truth
    does not hold makes a 0 of that class."""
    miou_of_truth: float
    """Mean over the classes in the truth: what weights are chosen by, for a validation set may lack a
    class."""
    accuracy: float
    """Fraction of pixels with the right class."""
    score: float
    """Paper Eq. 10-11; 1.0 where all is normal and it is 0/0 (see ConfusionMatrix.metrics)."""
    coverage: float
    """Fraction of the truth's pixels that have a prediction; the other scores are over these, unless
    `missed_as` was given."""

    def to_json(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return JSON-ready values with four decimals; NaN becomes null."""
        return {
            "miou": _rounded(self.miou),
            "miou_of_truth": _rounded(self.miou_of_truth),
            "iou": {name: _rounded(value) for name, value in zip(names, self.iou, strict=True)},
            "accuracy": _rounded(self.accuracy),
            "score": _rounded(self.score),
            "coverage": _rounded(self.coverage),
        }


@dataclass(slots=True)
class ConfusionMatrix:
    """Streamed confusion matrix of label maps; its memory does not depend on the number of pixels."""

    classes: int
    counts: NDArray[np.int64] = field(init=False)
    """(K, K) pixels of values 1..K, row = truth, column = prediction."""
    missed: NDArray[np.int64] = field(init=False)
    """(K,) pixels of each true class without a prediction (0)."""

    def __post_init__(self) -> None:
        self.counts = np.zeros((self.classes, self.classes), np.int64)
        self.missed = np.zeros(self.classes, np.int64)

    def __add__(self, other: "ConfusionMatrix") -> "ConfusionMatrix":
        """Return the sum of two confusion matrices.

        Raises:
            InputError: Their numbers of classes differ.
        """
        if self.classes != other.classes:
            raise InputError(f"counts of {self.classes} and of {other.classes} classes cannot be added")
        total = ConfusionMatrix(self.classes)
        total.counts = self.counts + other.counts
        total.missed = self.missed + other.missed
        return total

    def feed(self, prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
        """Count the pixels of two label maps of equal shape; those whose truth is 0 do not count.

        Raises:
            InputError: The shapes differ, or a value is above `classes`.
        """
        if prediction.shape != truth.shape:
            raise InputError(
                f"prediction {prediction.shape} and truth {truth.shape} must have the same shape"
            )
        side = self.classes + 1
        if max(prediction.max(initial=0), truth.max(initial=0)) >= side:
            raise InputError(
                f"labels must be 0..{self.classes}; check that both maps have the card's classes"
            )
        pairs = truth.astype(np.intp).ravel() * side + prediction.ravel()
        table = np.bincount(pairs, minlength=side * side).reshape(side, side)
        self.counts += table[1:, 1:]
        self.missed += table[1:, 0]

    def metrics(self, *, missed_as: int | None = None) -> Metrics:
        """Compute the scores of all pixels fed so far (paper Eq. 9-11).

        Pixels without a prediction do not count, or count as predicted `missed_as` (a class value 1..K).
        Coverage is the same either way. Score (Eq. 10-11) takes classes as severities 0..K-1: 1 - sum|p - g|
        / sum max(g, K-1-g) over the pixels where p or g is not 0. When everything is normal in both this is
        0/0; nothing was there and nothing was claimed, so it is defined as 1.0.
        """
        counts = self.counts.copy()
        if missed_as is not None:
            counts[:, missed_as - 1] += self.missed
        hits = np.diag(counts)
        iou = _ratio(hits, counts.sum(0) + counts.sum(1) - hits)
        total, predicted = int(counts.sum()), self.counts.sum()
        severity = np.arange(self.classes)
        error = int((counts * np.abs(severity[:, None] - severity)).sum())
        worst = np.maximum(severity, self.classes - 1 - severity)[:, None] * counts
        possible = int(worst.sum() - worst[0, 0])
        return Metrics(
            iou=tuple(float(value) for value in iou),
            in_truth=tuple((counts.sum(1) > 0).tolist()),
            miou=float(np.nanmean(iou)) if total else float("nan"),
            miou_of_truth=float(iou[counts.sum(1) > 0].mean()) if total else float("nan"),
            accuracy=float(_ratio(hits.sum(), np.int64(total))),
            score=(1 - error / possible if possible else 1.0) if total else float("nan"),
            coverage=float(_ratio(predicted, predicted + self.missed.sum())),
        )


def _ratio(part: NDArray[np.int64] | np.int64, whole: NDArray[np.int64] | np.int64) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.true_divide(part, whole), np.float64)


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
