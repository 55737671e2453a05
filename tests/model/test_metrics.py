"""Metrics against a brute-force reading of the paper's equations, pixel by pixel."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from model.errors import InputError
from model.metrics import ConfusionMatrix, Metrics

K = 4
label_maps = arrays(np.uint8, (2, 6, 5), elements=st.integers(0, K))


def scored(prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> Metrics:
    confusion = ConfusionMatrix(K)
    confusion.feed(prediction, truth)
    return confusion.metrics()


def brute_force(prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> dict[str, float]:
    pixels = [(int(p) - 1, int(g) - 1) for p, g in zip(prediction.flat, truth.flat, strict=True) if p and g]
    iou = []
    for k in range(K):
        both = sum(p == g == k for p, g in pixels)
        either = sum(k in (p, g) for p, g in pixels)
        iou.append(both / either if either else math.nan)
    known = [value for value in iou if not math.isnan(value)]
    wrong = sum(abs(p - g) for p, g in pixels)
    worst = sum(max(abs(g - 0), abs(g - 3)) * (1 - (1 - (p > 0)) * (1 - (g > 0))) for p, g in pixels)
    return {
        **{f"iou{k}": value for k, value in enumerate(iou)},
        "miou": sum(known) / len(known) if known else math.nan,
        "accuracy": sum(p == g for p, g in pixels) / len(pixels) if pixels else math.nan,
        "score": 1 - wrong / worst if worst else 1.0,
    }


@given(label_maps)
def test_metrics_equal_the_equations_applied_pixel_by_pixel(maps: NDArray[np.uint8]) -> None:
    metrics = scored(*maps)
    values = {f"iou{k}": value for k, value in enumerate(metrics.iou)}
    values |= {"miou": metrics.miou, "accuracy": metrics.accuracy, "score": metrics.score}
    assert values == pytest.approx(brute_force(*maps), nan_ok=True)


@given(label_maps, label_maps)
def test_streaming_equals_counting_at_once(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> None:
    streamed, whole = ConfusionMatrix(K), ConfusionMatrix(K)
    streamed.feed(*one)
    streamed.feed(*other)
    whole.feed(*np.concatenate([one, other], axis=1))
    np.testing.assert_array_equal(streamed.counts, whole.counts)
    assert streamed.missed == whole.missed


def test_a_case_worked_by_hand() -> None:
    truth = np.array([[1, 2, 4, 4]], np.uint8)
    prediction = np.array([[1, 3, 4, 1]], np.uint8)
    metrics = scored(prediction, truth)
    assert metrics.iou == pytest.approx((1 / 2, 0, 0, 1 / 2))
    assert metrics.accuracy == 0.5
    # Severities: truth 0 1 3 3, prediction 0 2 3 0; the first pixel does not count; 1 - (1 + 0 + 3) / (2 + 3 + 3).
    assert metrics.score == pytest.approx(0.5)


def test_all_normal_in_both_scores_one_and_leaves_other_classes_undefined() -> None:
    normal = np.ones((2, 2), np.uint8)
    metrics = scored(normal, normal)
    assert metrics.score == 1.0
    assert metrics.miou == 1.0
    assert metrics.to_json(("a", "b", "c", "d"))["iou"] == {"a": 1.0, "b": None, "c": None, "d": None}


def test_no_pixel_with_truth_gives_nan_not_an_error() -> None:
    metrics = scored(np.ones((2, 2), np.uint8), np.zeros((2, 2), np.uint8))
    assert math.isnan(metrics.miou)
    assert math.isnan(metrics.accuracy)
    assert math.isnan(metrics.coverage)


def test_truth_that_was_not_predicted_lowers_the_coverage_only() -> None:
    metrics = scored(np.array([1, 0, 0, 0], np.uint8), np.array([1, 1, 2, 0], np.uint8))
    assert metrics.coverage == pytest.approx(1 / 3)
    assert metrics.accuracy == 1.0


def test_maps_that_do_not_fit_are_refused() -> None:
    confusion = ConfusionMatrix(K)
    with pytest.raises(InputError, match="same shape"):
        confusion.feed(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
    with pytest.raises(InputError, match="labels must be"):
        confusion.feed(np.full((2, 2), 5, np.uint8), np.zeros((2, 2), np.uint8))
