"""Turn logits into the probabilities that a model's card stands for."""

import torch
from torch import Tensor

from ..card import ModelCard


def calibrated_softmax(logits: Tensor, card: ModelCard) -> Tensor:
    """Return class probabilities of logits (N, K, ...), of the same shape, summing to 1 along K; float32.

    Logits are divided by the temperature of the card's calibration, 1 where it has none. Labels do not
    change: the largest logit keeps the largest probability.
    """
    temperature = 1.0 if card.calibration is None else card.calibration.temperature
    return torch.softmax(logits.float() / temperature, dim=1)
