"""Scores resampled by patients."""

import numpy as np
import pytest

from model.evaluation.intervals import FEWEST_UNITS, score_intervals
from model.evaluation.metrics import ConfusionMatrix


def unit(right: int, wrong: int) -> ConfusionMatrix:
    matrix = ConfusionMatrix(2)
    matrix.counts[...] = [[right, wrong], [wrong, right]]
    return matrix


def test_units_that_are_alike_leave_no_doubt() -> None:
    found = score_intervals([unit(9, 1)] * 20)
    assert found is not None
    assert found.units == 20
    assert found.accuracy == pytest.approx((0.9, 0.9))
    assert found.miou_of_truth == pytest.approx((9 / 11, 9 / 11))


def test_the_interval_is_that_of_units_and_not_of_pixels() -> None:
    rng = np.random.default_rng(0)
    shares = rng.uniform(0.6, 1.0, 50)
    units = [unit(round(10_000 * share), 10_000 - round(10_000 * share)) for share in shares]
    found = score_intervals(units)
    assert found is not None
    low, high = found.accuracy
    half = 1.96 * shares.std() / np.sqrt(50)
    assert (low, high) == pytest.approx((shares.mean() - half, shares.mean() + half), abs=0.006)
    assert score_intervals(units) == found


def test_few_units_have_no_interval_and_those_without_truth_are_none() -> None:
    few = [unit(5, 1)] * (FEWEST_UNITS - 1)
    assert score_intervals([*few, ConfusionMatrix(2)]) is None
    assert score_intervals([*few, unit(5, 1)]) is not None
