"""Metrics against a brute-force reading of the paper's equations, pixel by pixel."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from model.errors import InputError
from model.evaluation.metrics import ConfusionMatrix, Metrics

K = 4
NAN = math.nan
label_maps = arrays(np.uint8, (2, 6, 5), elements=st.integers(0, K))


@st.composite
def maps_and_classes(draw: st.DrawFn) -> tuple[NDArray[np.uint8], int]:
    classes = draw(st.integers(1, 6))
    return draw(arrays(np.uint8, (2, 4, 5), elements=st.integers(0, classes))), classes


def counted(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], classes: int = K) -> ConfusionMatrix:
    confusion = ConfusionMatrix(classes)
    confusion.feed(prediction, truth)
    return confusion


def scored(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], classes: int = K) -> Metrics:
    return counted(prediction, truth, classes).metrics()


def brute_force(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], classes: int) -> dict[str, float]:
    """Eq. 9-11 as they stand in the paper, pixel by pixel; its 3 is the last of four classes."""
    pixels = [(int(p) - 1, int(g) - 1) for p, g in zip(prediction.flat, truth.flat, strict=True) if p and g]
    iou = []
    for k in range(classes):
        both = sum(p == g == k for p, g in pixels)
        either = sum(k in (p, g) for p, g in pixels)
        iou.append(both / either if either else math.nan)
    known = [value for value in iou if not math.isnan(value)]
    of_truth = [value for k, value in enumerate(iou) if any(g == k for _, g in pixels)]
    wrong = sum(abs(p - g) for p, g in pixels)
    worst = sum(
        max(abs(g - 0), abs(g - (classes - 1))) * (1 - (1 - (p > 0)) * (1 - (g > 0))) for p, g in pixels
    )
    return {
        **{f"iou{k}": value for k, value in enumerate(iou)},
        "miou": sum(known) / len(known) if known else math.nan,
        "miou_of_truth": sum(of_truth) / len(of_truth) if of_truth else math.nan,
        "accuracy": sum(p == g for p, g in pixels) / len(pixels) if pixels else math.nan,
        "score": 1 - wrong / worst if worst else 1.0 if pixels else math.nan,
    }


def as_dict(metrics: Metrics) -> dict[str, float]:
    values = {f"iou{k}": value for k, value in enumerate(metrics.iou)}
    means = {"miou": metrics.miou, "miou_of_truth": metrics.miou_of_truth}
    return values | means | {"accuracy": metrics.accuracy, "score": metrics.score}


@given(maps_and_classes())
def test_metrics_equal_the_equations_applied_pixel_by_pixel(case: tuple[NDArray[np.uint8], int]) -> None:
    maps, classes = case
    metrics = scored(*maps, classes)
    assert as_dict(metrics) == pytest.approx(brute_force(*maps, classes), nan_ok=True)


@given(label_maps, st.integers(1, K))
def test_missed_pixels_can_count_as_a_class(maps: NDArray[np.uint8], value: int) -> None:
    prediction, truth = maps
    filled = np.where(prediction == 0, np.uint8(value), prediction)
    metrics = counted(prediction, truth).metrics(missed_as=value)
    assert as_dict(metrics) == pytest.approx(brute_force(filled, truth, K), nan_ok=True)
    assert metrics.coverage == pytest.approx(scored(prediction, truth).coverage, nan_ok=True)


@given(label_maps, label_maps)
def test_streaming_equals_counting_at_once(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> None:
    streamed, whole = ConfusionMatrix(K), ConfusionMatrix(K)
    streamed.feed(*one)
    streamed.feed(*other)
    whole.feed(*np.concatenate([one, other], axis=1))
    for total in (streamed, counted(*one) + counted(*other)):
        np.testing.assert_array_equal(total.counts, whole.counts)
        np.testing.assert_array_equal(total.missed, whole.missed)


def test_adding_leaves_the_summands_alone_and_refuses_other_classes() -> None:
    one = counted(np.array([1, 0], np.uint8), np.array([1, 2], np.uint8))
    total = one + one
    total.feed(np.array([3], np.uint8), np.array([3], np.uint8))
    assert one.counts.sum() == 1
    assert one.missed.tolist() == [0, 1, 0, 0]
    with pytest.raises(InputError, match="4 and of 3 classes"):
        one + ConfusionMatrix(3)


HAND_WORKED = {
    # Truth, prediction (0 normal ... 3 invasive), IoU of each class, accuracy, score.
    "all right": ([0, 1, 2, 3], [0, 1, 2, 3], (1, 1, 1, 1), 1, 1),
    # Each is the farthest off: errors 3 + 2 + 2 + 3 of 3 + 2 + 2 + 3.
    "as wrong as can be": ([0, 1, 2, 3], [3, 3, 0, 0], (0, 0, 0, 0), 0, 0),
    # Unions 1 + 2, 2, 1, 1; errors 1 + 1 (a benign missed, a normal called benign) of 2 + 3 + 2 + 3.
    "one benign missed, one invented": (
        [0, 0, 1, 2, 3],
        [0, 1, 0, 2, 3],
        (1 / 3, 0, 1, 1),
        3 / 5,
        1 - 2 / 10,
    ),
    # Normal taken for normal is in no sum: 98 of them change IoU and accuracy, not score, 1 - 1 / (3 + 3).
    "mostly normal": ([0] * 98 + [3, 3], [0] * 98 + [3, 2], (1, NAN, 0, 1 / 2), 99 / 100, 1 - 1 / 6),
    # In situ for invasive costs 1 of 3, normal for invasive 3 of 3: the score grades what accuracy does not.
    "near": ([3, 3], [2, 2], (NAN, NAN, 0, 0), 0, 1 - 2 / 6),
    "far": ([3, 3], [0, 0], (0, NAN, NAN, 0), 0, 0),
    # A false alarm counts in Eq. 10's second sum as well, by its truth's worst case 3.
    "false alarm": ([0, 0], [0, 1], (1 / 2, 0, NAN, NAN), 1 / 2, 1 - 1 / 3),
    # 0/0 in Eq. 10, defined as 1.
    "nothing there, nothing claimed": ([0, 0], [0, 0], (1, NAN, NAN, NAN), 1, 1),
}


@pytest.mark.parametrize("case", HAND_WORKED)
def test_cases_worked_by_hand(case: str) -> None:
    truth, prediction, iou, accuracy, score = HAND_WORKED[case]
    metrics = scored(np.array(prediction, np.uint8) + 1, np.array(truth, np.uint8) + 1)
    assert metrics.iou == pytest.approx(iou, nan_ok=True)
    assert metrics.miou == pytest.approx(np.nanmean(iou))
    assert (metrics.accuracy, metrics.score) == pytest.approx((accuracy, score))


def test_a_case_worked_by_hand() -> None:
    truth = np.array([[1, 2, 4, 4]], np.uint8)
    prediction = np.array([[1, 3, 4, 1]], np.uint8)
    metrics = scored(prediction, truth)
    assert metrics.iou == pytest.approx((1 / 2, 0, 0, 1 / 2))
    assert metrics.accuracy == 0.5
    # Severities: truth 0 1 3 3, prediction 0 2 3 0; first px left out: 1 - (1 + 0 + 3) / (2 + 3 + 3).
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
    assert math.isnan(metrics.score)
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


def test_one_wrong_pixel_of_a_class_that_the_truth_lacks_does_not_halve_what_weights_are_chosen_by() -> None:
    truth = np.array([1] * 5000 + [3] * 5000, np.uint8)
    prediction = truth.copy()
    prediction[0] = 2
    metrics = counted(prediction, truth).metrics()
    assert metrics.miou_of_truth == pytest.approx(1, abs=1e-3)
    assert metrics.miou == pytest.approx(2 / 3, abs=1e-3)
