"""Temperatures found again, and confidence measured against what is right."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.card import Calibration, ModelCard
from model.data.annotated_slide import AnnotatedSlide
from model.data.splits import SlideWithTruth
from model.errors import CardError
from model.evaluation.calibration import (
    STEP_PX,
    LogitSample,
    calibrate,
    calibration_error,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    sample_logits,
)
from model.evaluation.regions import grid_patches
from model.inference.probabilities import calibrated_softmax
from model.inference.segmenter import Segmenter
from model.network.build import build_network


def drawn(temperature: float, pixels: int = 40_000) -> LogitSample:
    """Logits whose softmax at `temperature` is the law that the truth is drawn from."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (pixels, 4)).astype(np.float32) * temperature
    noise = rng.gumbel(size=logits.shape)  # the argmax with this noise follows the softmax
    return LogitSample(logits, (logits / temperature + noise).argmax(axis=1))


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_made_the_truth_is_found(temperature: float) -> None:
    sample = drawn(temperature)
    assert fit_temperature(sample) == pytest.approx(temperature, rel=0.05)
    assert expected_calibration_error(sample, temperature) < 0.01


def test_errors_before_and_after_are_those_of_the_measured_sample() -> None:
    sure = drawn(3.0)
    found = calibrate(sure, sure, fitted_on="validation", measured_on="test")
    assert found is not None
    assert found.error < 0.01
    assert found.error_uncalibrated > 0.1
    assert (found.fitted_on, found.measured_on) == ("validation", "test")
    nothing = LogitSample(np.zeros((0, 4), np.float32), np.zeros(0, np.intp))
    assert calibrate(sure, nothing, fitted_on="validation", measured_on="test") is None


def test_the_error_is_the_gap_between_confidence_and_right_ones() -> None:
    # Softmax of (ln 4, 0) is (0.8, 0.2): said to be right four times in five, right once in two.
    sample = LogitSample(np.tile([np.log(4.0), 0.0], (10, 1)).astype(np.float32), np.arange(10) % 2)
    assert expected_calibration_error(sample, 1.0) == pytest.approx(0.3, abs=1e-6)
    assert negative_log_likelihood(sample, 1.0) == pytest.approx(-(np.log(0.8) + np.log(0.2)) / 2, abs=1e-6)


def test_the_error_of_a_card_is_taken_at_its_temperature(card: ModelCard) -> None:
    sample = drawn(3.0)
    calibrated = replace(card, calibration=Calibration(3.0, 0, 0, "validation", "test"))
    raw, mended = calibration_error(sample, card), calibration_error(sample, calibrated)
    assert raw is not None
    assert mended is not None
    assert (raw.temperature, mended.temperature) == (1.0, 3.0)
    assert raw.error == raw.error_uncalibrated == mended.error_uncalibrated
    assert mended.error < 0.01
    logits = torch.from_numpy(sample.logits[:5]).double()
    expected = torch.exp(logits / 3) / torch.exp(logits / 3).sum(1, keepdim=True)
    torch.testing.assert_close(calibrated_softmax(logits, calibrated).double(), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(calibrated_softmax(logits, card), torch.softmax(logits.float(), 1))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_a_temperature_that_is_none_is_refused(card: ModelCard, temperature: float) -> None:
    with pytest.raises(CardError, match=r"calibration\.temperature"):
        replace(card, calibration=Calibration(temperature, 0, 0, "validation", "test"))


def test_sampled_logits_are_those_of_the_labels(
    card: ModelCard, write_slide: Callable[..., SlideWithTruth]
) -> None:
    torch.manual_seed(0)
    segmenter = Segmenter(build_network(card.network, 3), card, device="cpu", batch_size=1)
    with AnnotatedSlide.open(write_slide("a", 0), card.input) as slide:
        patches = grid_patches([slide], 3)
        sample = sample_logits(segmenter, [slide], patches)
        labels, truths = [], []
        for patch in patches:
            pixels = slide.read_patch(patch.view)
            found = segmenter.label_patch(pixels.region, patch.view, context=pixels.context)
            truth = np.stack([slide.read_truth(rect) for rect in patch.view.slices])
            at = np.s_[:, STEP_PX // 2 :: STEP_PX, STEP_PX // 2 :: STEP_PX]
            labels.append(found[at][truth[at] > 0])
            truths.append(truth[at][truth[at] > 0])
    np.testing.assert_array_equal(sample.logits.argmax(1) + 1, np.concatenate(labels))
    np.testing.assert_array_equal(sample.truth + 1, np.concatenate(truths))
    assert len(np.unique(sample.logits, axis=0)) > 100
