"""Bootstrap intervals of scores, over slides or patients: pixels of one of them are not independent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .metrics import ConfusionMatrix, Metrics

RESAMPLES = 2000
COVERED = 0.95
FEWEST_UNITS = 8
"""Fewest slides or patients: resampling fewer says little of others."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ScoreIntervals:
    """Intervals that hold COVERED of the scores of resampled units."""

    units: int
    miou_of_truth: Interval
    accuracy: Interval

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values with four decimals."""
        return {
            "covered": COVERED,
            "resamples": RESAMPLES,
            "units": self.units,
            "miou_of_truth": [round(value, 4) for value in self.miou_of_truth],
            "accuracy": [round(value, 4) for value in self.accuracy],
        }


def score_intervals(units: Sequence[ConfusionMatrix], *, seed: int = 1) -> ScoreIntervals | None:
    """Return percentile intervals of the scores of all pixels, with whole units drawn with replacement.

    None for fewer than FEWEST_UNITS units with truth.
    """
    counted = [unit for unit in units if unit.counts.any()]
    if len(counted) < FEWEST_UNITS:
        return None
    counts = np.stack([unit.counts for unit in counted])
    drawn = np.random.default_rng(seed).multinomial(
        len(counted), np.full(len(counted), 1 / len(counted)), size=RESAMPLES
    )
    scores = [_metrics(total) for total in np.tensordot(drawn, counts, axes=1)]
    return ScoreIntervals(
        units=len(counted),
        miou_of_truth=_interval([one.miou_of_truth for one in scores]),
        accuracy=_interval([one.accuracy for one in scores]),
    )


def _metrics(counts: np.ndarray[Any, np.dtype[np.int64]]) -> Metrics:
    matrix = ConfusionMatrix(len(counts))
    matrix.counts = counts
    return matrix.metrics()


def _interval(scores: Sequence[float]) -> Interval:
    low, high = np.quantile(scores, [(1 - COVERED) / 2, (1 + COVERED) / 2])
    return float(low), float(high)
