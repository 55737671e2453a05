"""What is learned from a batch: the loss, and which parameters it moves how far."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..network.base import SegmentationNetwork
from .config import TrainConfig

NO_TRUTH = -1
"""Cross-entropy skips this: label 0, glass and everything else that has no truth."""

ENCODERS = ("network.encoder.", "network.context_encoder.")
"""What an ImageNet start fills."""


class TrainingModule(nn.Module):
    """A network, and a head that reads classes off the context's coarse map in training only."""

    def __init__(self, network: SegmentationNetwork, config: TrainConfig) -> None:
        super().__init__()
        self.network = network
        self._frozen = config.frozen_batch_norm
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = config.batch_norm_momentum
                module.requires_grad_(not self._frozen)
        if config.card.network.sees_patch:
            torch.manual_seed(config.seed)
            width = 2 * config.card.network.decoder_width
            self.context_head = nn.Conv2d(width, len(config.card.classes), 1)

    def train(self, mode: bool = True) -> "TrainingModule":
        """As of any module; frozen batch norms keep the statistics they came with."""
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
        """NLL of the slices' pixels (paper Eq. 12), and of the context's coarse map if it has a weight.

        The tensors are a Batch's, images normalised. A scalar, float32.
        """
        if not hasattr(self, "context_head"):
            return _nll(self.network(slices), labels)
        encoded = self.network.encode_context(context)
        loss = torch.zeros((), device=context.device)
        if len(slices):
            loss = loss + _nll(self.network(slices, encoded, boxes), labels)
        if context_loss:
            loss = loss + context_loss * _nll(self.context_head(encoded.coarse), context_labels)
        return loss


def _nll(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the labelled pixels, 0 where there is none; `logits` (N, K, h, w) are up-sampled to `labels` (N, H, W)."""
    target = labels.long() + NO_TRUTH
    logits = F.interpolate(logits.float(), size=target.shape[1:], mode="bilinear", align_corners=False)
    total = F.cross_entropy(logits, target, ignore_index=NO_TRUTH, reduction="sum")
    return total / (target != NO_TRUTH).sum().clamp(min=1)


def make_optimizer(lesson: TrainingModule, config: TrainConfig) -> torch.optim.Optimizer:
    """Encoders in one group of parameters, at `encoder_factor` of the learning rate, all else in another."""
    groups: list[dict[str, Any]] = []
    named = [(name, p) for name, p in lesson.named_parameters() if p.requires_grad]
    for factor, wanted in ((config.encoder_factor, True), (1.0, False)):
        chosen = [p for name, p in named if name.startswith(ENCODERS) is wanted]
        if chosen:
            groups.append({"params": chosen, "factor": factor})
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, weight_decay=config.weight_decay)
    return torch.optim.SGD(groups, momentum=config.momentum, weight_decay=config.weight_decay)
