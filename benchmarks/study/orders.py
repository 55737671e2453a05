"""Scores of rows and differences between them, with intervals by a paired bootstrap over slides and seeds.

Slides, not slices or pixels, are the unit that is resampled: those of one slide are alike. Slides and seeds
are drawn with replacement at once, the same ones for both rows of a difference.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from model.evaluation.intervals import COVERED, RESAMPLES, Interval
from model.evaluation.metrics import ConfusionMatrix, Metrics

from .results import Run

Part = Literal["all", "mixed"]
"""Part of the test patches."""


@dataclass(frozen=True, slots=True)
class Order:
    """Claim that row `higher` scores above row `lower`."""

    higher: str
    lower: str


PAPER_ORDERS = (
    Order("single", "unet"),
    Order("multi-size", "single"),
    Order("add", "multi-size"),
    Order("add", "single"),
    Order("concat", "add"),
    Order("attention", "concat"),
    Order("attention", "add"),
)
OTHER_ORDERS = (
    Order("attention", "shuffled"),
    Order("attention", "no-coarse"),
    Order("aligned", "attention"),
    Order("aligned", "add"),
    Order("aligned", "aligned-no-coarse"),
    Order("hooked", "aligned"),
    Order("centred", "attention"),
    Order("centred", "aligned"),
    Order("centred", "hooked"),
    Order("light", "attention"),
)
"""Orders that the paper says nothing of."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Outcome of an order: the difference in MIoU, as fractions, over the seeds that both rows have."""

    mean: float
    """Mean of the higher minus that of the lower."""
    interval: Interval
    """Holds COVERED of the differences of resampled slides and seeds."""
    seeds: int
    wins: int
    """Seeds with which the higher did score above the lower."""

    @property
    def outcome(self) -> Literal["higher", "lower", "not told apart"]:
        """Direction of the difference, where the interval does not hold 0 and there are two seeds or more."""
        low, high = self.interval
        if self.seeds < 2 or low <= 0 <= high:
            return "not told apart"
        return "higher" if low > 0 else "lower"


def metrics_of(run: Run, part: Part) -> Metrics:
    """Return the scores from the counts of a run."""
    counts = np.array(run[part]["confusion"], np.int64)
    confusion = ConfusionMatrix(len(counts))
    confusion.counts += counts
    return confusion.metrics()


def miou_by_seed(runs: Sequence[Run], row: str, part: Part) -> Mapping[int, float]:
    """Return the MIoU of one row by seed, without seeds where it is 0/0."""
    scores = {run["seed"]: metrics_of(run, part).miou for run in runs if run["row"] == row}
    return {seed: miou for seed, miou in scores.items() if not math.isnan(miou)}


def difference(runs: Sequence[Run], order: Order, part: Part) -> Difference | None:
    """Return how an order came out; None when the rows have no seed in common."""
    high, low = (miou_by_seed(runs, row, part) for row in (order.higher, order.lower))
    seeds = sorted(high.keys() & low.keys())
    if not seeds:
        return None
    above, below = (_resampled(_counts(runs, row, part, seeds)) for row in (order.higher, order.lower))
    mean = statistics.fmean(high[seed] - low[seed] for seed in seeds)
    wins = sum(high[seed] > low[seed] for seed in seeds)
    return Difference(mean, _interval(above - below), len(seeds), wins)


def miou_interval(runs: Sequence[Run], row: str, part: Part) -> Interval | None:
    """Return the interval of the mean MIoU of a row over resampled slides and seeds; None without runs."""
    seeds = sorted(miou_by_seed(runs, row, part))
    return _interval(_resampled(_counts(runs, row, part, seeds))) if seeds else None


def spread(runs: Sequence[Run], value: Callable[[Run], float]) -> str:
    """Format the mean of fractions as "mean ± sd" in percent; no sd for one run, a dash for 0/0."""
    values = [100 * value(run) for run in runs]
    if not values or any(math.isnan(one) for one in values):
        return "-"
    mean = f"{statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1f}"


def _counts(runs: Sequence[Run], row: str, part: Part, seeds: Sequence[int]) -> NDArray[np.int64]:
    """Return the confusion matrices of a row: (seeds, slides, K, K), slides in the order of their names."""
    of_seed = {run["seed"]: run["slides"] for run in runs if run["row"] == row}
    return np.array([[of_seed[seed][name][part] for name in sorted(of_seed[seed])] for seed in seeds])


def _resampled(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean MIoU over seeds of RESAMPLES draws, the same ones at every call for equal shapes.

    A draw whose slides have no class at all, so that its MIoU is 0/0, counts as the mean of the others.
    """
    rng = np.random.default_rng(1)
    seeds, slides = counts.shape[:2]
    of_slides, of_seeds = (
        rng.multinomial(number, np.full(number, 1 / number), RESAMPLES) for number in (slides, seeds)
    )
    scores = _miou(np.einsum("bl,slij->bsij", of_slides, counts))
    scores = np.where(np.isnan(scores), np.nanmean(scores), scores)
    return np.asarray((scores * of_seeds).sum(axis=1) / seeds)


def _miou(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return the MIoU of confusion matrices (..., K, K), as ConfusionMatrix defines it."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    union = counts.sum(-1) + counts.sum(-2) - hits
    iou = np.divide(hits, union, out=np.full(hits.shape, np.nan), where=union > 0)
    return np.asarray(np.nanmean(iou, axis=-1))


def _interval(values: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(values, [(1 - COVERED) / 2, (1 + COVERED) / 2])
    return float(low), float(high)
