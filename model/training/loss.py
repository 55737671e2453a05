"""Training loss and optimizer parameter groups."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.loader import Batch
from ..inference.device import PRECISIONS
from ..inference.preprocess import Normaliser
from ..network.base import SegmentationNetwork
from .config import TrainConfig

NO_TRUTH = -1
"""Target that cross-entropy ignores: label 0, glass and everything else that has no truth."""

ENCODERS = ("network.encoder.", "network.context_encoder.")
"""Parameter prefixes of the encoders, which an ImageNet start fills."""

LossFunction = Callable[[Batch, float], Tensor]
"""Loss of a batch on the CPU, given the weight of the context's loss: a scalar, float32."""


class TrainingModule(nn.Module):
    """Network with its loss, and an auxiliary head on the context's coarse map for training only."""

    def __init__(self, network: SegmentationNetwork, config: TrainConfig) -> None:
        """Set up batch norms as the recipe has them, and the head with weights drawn from its seed."""
        super().__init__()
        self.network = network
        self._frozen = config.frozen_batch_norm
        self._shuffled = config.shuffled_contexts
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = config.batch_norm_momentum
                module.requires_grad_(not self._frozen)
        if config.card.network.sees_patch:
            torch.manual_seed(config.seed)
            width = 2 * config.card.network.decoder_width
            self.context_head = nn.Conv2d(width, len(config.card.classes), 1)

    def train(self, mode: bool = True) -> "TrainingModule":
        """Set training mode, but leave frozen batch norms in evaluation mode: they keep their statistics."""
        super().train(mode)
        if self._frozen:
            for module in self.network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(
        self,
        slices: Tensor,
        labels: Tensor,
        context: Tensor,
        context_labels: Tensor,
        boxes: Tensor,
        context_loss: float,
    ) -> Tensor:
        """Return the NLL of the slices' pixels (paper Eq. 12), plus `context_loss` times the coarse map's.

        The tensors are those of a Batch, with images normalised; `boxes` (P * S, 4) are the slices' places in
        their context. Returns a scalar, float32.
        """
        if not hasattr(self, "context_head"):
            return _nll(self.network(slices), labels)
        encoded = self.network.encode_context(context)
        seen = encoded.of_neighbours() if self._shuffled else encoded
        loss = torch.zeros((), device=context.device)
        if len(slices):
            loss = loss + _nll(self.network(slices, seen, boxes), labels)
        if context_loss:
            loss = loss + context_loss * _nll(self.context_head(encoded.coarse), context_labels)
        return loss


def _nll(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean NLL over the labelled pixels, 0 where there is none.

    `logits` (N, K, h, w) are up-sampled to `labels` (N, H, W).
    """
    target = labels.long() + NO_TRUTH
    logits = F.interpolate(logits.float(), size=target.shape[1:], mode="bilinear", align_corners=False)
    total = F.cross_entropy(logits, target, ignore_index=NO_TRUTH, reduction="sum")
    return total / (target != NO_TRUTH).sum().clamp(min=1)


def loss_function(module: nn.Module, config: TrainConfig, device: torch.device) -> LossFunction:
    """Return a function that computes the loss of a batch.

    It copies the batch to the device, normalises the images and runs `module` under autocast.
    `module` is a TrainingModule on that device, or one wrapped for several processes.
    """
    normalise = Normaliser(config.card.normalisation, device)
    dtype = PRECISIONS[config.precision]

    def compute_loss(batch: Batch, context_loss: float) -> Tensor:
        slices, context = (normalise(images.to(device)) for images in (batch.slices, batch.context))
        labels, context_labels, boxes = (
            tensor.to(device) for tensor in (batch.labels, batch.context_labels, batch.boxes)
        )
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            loss: Tensor = module(slices, labels, context, context_labels, boxes, context_loss)
        return loss

    return compute_loss


def make_optimizer(module: TrainingModule, config: TrainConfig) -> torch.optim.Optimizer:
    """Make the recipe's optimizer with two parameter groups: encoders, and all else.

    Each group has a "factor" for its learning rate: `encoder_factor`, and 1. Frozen parameters are in
    neither.
    """
    groups: list[dict[str, Any]] = []
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    for factor, wanted in ((config.encoder_factor, True), (1.0, False)):
        chosen = [p for name, p in named if name.startswith(ENCODERS) is wanted]
        if chosen:
            groups.append({"params": chosen, "factor": factor})
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, weight_decay=config.weight_decay)
    return torch.optim.SGD(groups, momentum=config.momentum, weight_decay=config.weight_decay)
