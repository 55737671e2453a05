"""Means, spreads and differences of runs."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from model.evaluation.metrics import ConfusionMatrix, Metrics

from .results import Run

Part = Literal["all", "mixed"]
"""Part of the test patches."""

CLEAR = 2.0
"""Pooled standard deviations by which means must differ for an order to be called."""


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
OUR_ORDER = Order("aligned", "attention")


@dataclass(frozen=True, slots=True)
class Difference:
    """Outcome of an order: the difference in MIoU, as fractions, over the seeds that both rows have."""

    mean: float
    """Mean of the higher minus that of the lower."""
    pooled_sd: float
    """Pooled standard deviation over seeds; NaN with fewer than two."""
    seeds: int
    wins: int
    """Seeds with which the higher did score above the lower."""

    @property
    def outcome(self) -> Literal["higher", "lower", "not told apart"]:
        """Direction of the difference, when the means are more than CLEAR pooled standard deviations apart.

        With fewer than two seeds nothing is told apart.
        """
        if not abs(self.mean) > CLEAR * self.pooled_sd:
            return "not told apart"
        return "higher" if self.mean > 0 else "lower"


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
    above, below = [high[seed] for seed in seeds], [low[seed] for seed in seeds]
    pooled = math.nan
    if len(seeds) > 1:
        pooled = math.sqrt((statistics.variance(above) + statistics.variance(below)) / 2)
    mean = statistics.fmean(above) - statistics.fmean(below)
    wins = sum(a > b for a, b in zip(above, below, strict=True))
    return Difference(mean, pooled, len(seeds), wins)


def spread(runs: Sequence[Run], value: Callable[[Run], float]) -> str:
    """Format the mean of fractions as "mean ± sd" in percent; no sd for one run, a dash for 0/0."""
    values = [100 * value(run) for run in runs]
    if not values or any(math.isnan(one) for one in values):
        return "-"
    mean = f"{statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1f}"
