"""Probabilities of labels: those of the calibrated softmax, whatever the batch."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from model.card import Calibration, ModelCard
from model.inference.probabilities import calibrated_softmax, winner_probabilities
from model.network.base import SegmentationNetwork

from .test_segmenter import VIEW, network, pixels, segmenter_of

__all__ = ["network", "pixels"]


def calibrated(card: ModelCard, temperature: float) -> ModelCard:
    return replace(card, calibration=Calibration(temperature, 0.01, 0.02, "validation", "test"))


def test_they_are_the_largest_of_the_calibrated_softmax(card: ModelCard) -> None:
    logits = torch.randn(3, 4, 40, 50, generator=torch.Generator().manual_seed(0)) * 6
    for warm in (card, calibrated(card, 2.5)):
        found = winner_probabilities(logits, warm)
        assert found.dtype == torch.uint8
        expected = calibrated_softmax(logits, warm).double().amax(1) * 255
        torch.testing.assert_close(found.double(), expected, atol=0.5001, rtol=0)
    assert winner_probabilities(logits, card).float().mean() > found.float().mean(), "cooler is surer"


def test_no_pixel_is_0_and_a_sure_one_is_255(card: ModelCard) -> None:
    even, sure = torch.zeros(1, 255, 2, 2), torch.zeros(1, 2, 2, 2)
    sure[:, 1] = 200
    assert winner_probabilities(even, card).unique().tolist() == [1]
    assert winner_probabilities(sure, card).unique().tolist() == [255]


def test_they_do_not_depend_on_the_batch(card: ModelCard) -> None:
    logits = torch.randn(5, 3, 33, 35, generator=torch.Generator().manual_seed(1))
    whole = winner_probabilities(logits, card)
    for index in range(5):
        assert torch.equal(winner_probabilities(logits[index : index + 1].clone(), card)[0], whole[index])


def test_a_segmenter_gives_them_beside_the_same_labels(
    network: SegmentationNetwork, card: ModelCard, pixels: NDArray[np.uint8]
) -> None:
    segmenter = segmenter_of(network, calibrated(card, 3.0))
    pending = segmenter.submit(pixels, VIEW, probabilities=True)
    labels = segmenter.collect(pending)
    np.testing.assert_array_equal(labels, segmenter.label_patch(pixels, VIEW))
    assert pending.probabilities is not None
    shares = torch.softmax(torch.from_numpy(segmenter.logits(pixels, VIEW)) / 3.0, dim=1)
    chosen = shares.gather(1, torch.from_numpy(labels.astype(np.int64))[:, None] - 1)[:, 0]
    found = torch.from_numpy(pending.probabilities.wait().astype(np.float32)) / 255
    torch.testing.assert_close(found, chosen, atol=0.0021, rtol=0)
    assert segmenter.submit(pixels, VIEW).probabilities is None


def test_a_patch_without_slices_has_none(
    network: SegmentationNetwork, card: ModelCard, pixels: NDArray[np.uint8]
) -> None:
    pending = segmenter_of(network, card).submit(pixels, replace(VIEW, corners=()), probabilities=True)
    assert pending.probabilities is not None
    assert pending.probabilities.wait().shape == (0, 32, 32)
