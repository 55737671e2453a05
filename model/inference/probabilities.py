"""Turn logits into the probabilities that a model's card stands for."""

import torch
from torch import Tensor

from ..card import ModelCard


def calibrated_softmax(logits: Tensor, card: ModelCard) -> Tensor:
    """Return class probabilities of logits (N, K, ...), of the same shape, summing to 1 along K; float32.

    Logits are divided by the temperature of the card's calibration, 1 where it has none. Labels do not
    change: the largest logit keeps the largest probability.
    """
    return torch.softmax(logits.float() / temperature_of(card), dim=1)


def temperature_of(card: ModelCard) -> float:
    """Return the temperature of the card's calibration, 1 where it has none."""
    return 1.0 if card.calibration is None else card.calibration.temperature


def winner_probabilities(logits: Tensor, card: ModelCard) -> Tensor:
    """Return the calibrated probability of the largest of logits (N, K, H, W) as uint8 (N, H, W).

    Value v stands for v / 255, rounded. It is at least 1, so that 0 is left for pixels that nobody looked at.
    One image goes at a time: the arithmetic of a pixel must not depend on the batch it came in.
    """
    return torch.stack([_winner_plane(planes / temperature_of(card)) for planes in logits.float()])


def _winner_plane(planes: Tensor) -> Tensor:
    """Return the largest probability of (K, H, W) scaled logits, uint8 (H, W)."""
    largest = torch.amax(planes, dim=0)
    odds = torch.zeros_like(largest)
    for plane in planes:
        odds += torch.exp(plane - largest)
    return (255.0 / odds).round_().clamp_(1, 255).to(torch.uint8)
