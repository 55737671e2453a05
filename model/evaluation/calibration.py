"""Calibrate a network: fit a temperature (Guo et al. 2017, arXiv 1706.04599) and measure what is left."""

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi.work_ahead import work_ahead

from ..card import Calibration, ModelCard
from ..data.annotated_slide import AnnotatedSlide
from ..inference.segmenter import Segmenter
from .evaluate import CalibrationError, patch_reader
from .regions import EvalPatch, spread

STEP_PX = 8
"""One label px in so many, on both axes, is looked at: neighbours say the same."""

MOST_PATCHES = 500
"""Patches that are looked at, evenly spread over a set."""

BINS = 15
"""Bins of the expected calibration error, of equal width, as in the paper above."""

LN_RANGE = (math.log(0.05), math.log(20.0))
"""Range of ln(temperature) that is searched."""


@dataclass(frozen=True, slots=True, eq=False)
class LogitSample:
    """Logits of a sample of pixels with truth."""

    logits: NDArray[np.float32]
    """(M, K)."""
    truth: NDArray[np.intp]
    """(M,): index of the true class, 0..K-1."""


def sample_logits(
    segmenter: Segmenter, slides: Sequence[AnnotatedSlide], patches: Sequence[EvalPatch]
) -> LogitSample:
    """Run a network on at most MOST_PATCHES of the patches and sample logits where there is truth.

    Memory: 4 (K + 2) bytes a pixel sampled, 64 * 64 pixels a slice.

    Raises:
        WsiError: A slide or truth cannot be read.
    """
    first, classes = STEP_PX // 2, len(segmenter.card.classes)
    logits, truths = [np.zeros((0, classes), np.float32)], [np.zeros(0, np.intp)]
    chosen = spread(list(patches), MOST_PATCHES)
    with closing(work_ahead(patch_reader(slides), chosen, threads=1, depth=1)) as reading:
        for patch, (pixels, truth) in reading:
            found = segmenter.logits(pixels.region, patch.view, context=pixels.context, step=STEP_PX)
            sampled = truth[:, first::STEP_PX, first::STEP_PX]
            logits.append(np.moveaxis(found, 1, -1)[sampled > 0])
            truths.append(sampled[sampled > 0].astype(np.intp) - 1)
    return LogitSample(np.concatenate(logits), np.concatenate(truths))


def calibrate(
    fitted: LogitSample, measured: LogitSample, *, fitted_on: str, measured_on: str
) -> Calibration | None:
    """Fit the temperature to one sample and measure the errors on another; None where one is empty."""
    if not len(fitted.truth) or not len(measured.truth):
        return None
    temperature = round(fit_temperature(fitted), 4)
    return Calibration(
        temperature=temperature,
        error=round(expected_calibration_error(measured, temperature), 4),
        error_uncalibrated=round(expected_calibration_error(measured, 1.0), 4),
        fitted_on=fitted_on,
        measured_on=measured_on,
    )


def calibration_error(sample: LogitSample, card: ModelCard) -> CalibrationError | None:
    """Measure how far a model's confidence is off, calibrated as its card says; None of an empty sample."""
    if not len(sample.truth):
        return None
    temperature = 1.0 if card.calibration is None else card.calibration.temperature
    return CalibrationError(
        temperature=temperature,
        error=round(expected_calibration_error(sample, temperature), 4),
        error_uncalibrated=round(expected_calibration_error(sample, 1.0), 4),
        pixels=len(sample.truth),
    )


def fit_temperature(sample: LogitSample) -> float:
    """Return the temperature of the least NLL.

    The NLL has one minimum in the temperature: it is convex in its inverse.
    """
    return math.exp(_least(lambda log: negative_log_likelihood(sample, math.exp(log)), *LN_RANGE))


def negative_log_likelihood(sample: LogitSample, temperature: float) -> float:
    """Return the mean NLL of the true classes at a temperature."""
    scaled = sample.logits.astype(np.float64) / temperature
    highest = scaled.max(axis=1)
    normaliser = np.log(np.exp(scaled - highest[:, None]).sum(axis=1)) + highest
    return float((normaliser - scaled[np.arange(len(scaled)), sample.truth]).mean())


def expected_calibration_error(sample: LogitSample, temperature: float) -> float:
    """Return the expected calibration error, 0..1, over BINS bins of confidence (see Calibration)."""
    scaled = sample.logits.astype(np.float64) / temperature
    confidence = 1 / np.exp(scaled - scaled.max(axis=1, keepdims=True)).sum(axis=1)
    right = scaled.argmax(axis=1) == sample.truth
    bins = np.minimum((confidence * BINS).astype(np.intp), BINS - 1)
    # In a bin, the count times the difference of means is the difference of sums.
    gaps = np.bincount(bins, confidence, BINS) - np.bincount(bins, right, BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def _least(function: Callable[[float], float], low: float, high: float, *, within: float = 1e-4) -> float:
    """Return where a function of one minimum is least, by golden-section search."""
    golden = (math.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > within:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = function(right)
    return (low + high) / 2
