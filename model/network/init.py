"""Initial weights for training from scratch."""

from collections.abc import Sequence

import torch
from torch import nn

from .base import SegmentationNetwork
from .blocks import Adaptation, ChainedResidualPooling, ResidualConvUnit

RESIDUAL_SCALE = 0.2
"""Factor on the last conv of residual branches: the decoder has some thirty residual sums and no batch norm,
and at full He scale activations would grow with each."""

REDUCTION_SCALE = 0.15
"""Factor on the 1x1 reductions: without batch norm the classifier's curvature grows with the square of the
decoder's features, which lowers the learning rate that still converges. So the features start out small."""

CLASSIFIER_SCALE = 0.3
"""Factor on the classifier: all classes start out about equally likely."""

NEVER = -1e4
"""Logit of a class that is never chosen: its probability and its gradients are 0 in every precision."""


def initialise(network: nn.Module, seed: int) -> None:
    """Initialise all kernels by He et al. 2015 and scale down the decoder's residual branches.

    The same seed gives the same weights on a CPU.
    """
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    with torch.no_grad():
        for module in network.modules():
            _scale_down(module)


def silence_classes(network: SegmentationNetwork, channels: Sequence[int]) -> None:
    """Make a network never choose the classes of these channels, before training or after it."""
    with torch.no_grad():
        network.classify.weight[channels] = 0.0
        network.classify.get_parameter("bias")[channels] = NEVER


def _scale_down(module: nn.Module) -> None:
    # The `align` convs of "aligned" networks stay at full scale: scaled down, or from zero, a network learns
    # much more slowly to use the context where only the context is informative.
    match module:
        case ResidualConvUnit():
            module.conv2.weight.mul_(RESIDUAL_SCALE)
        case ChainedResidualPooling():
            for conv in module.convs:
                conv.get_parameter("weight").mul_(RESIDUAL_SCALE)
        case Adaptation():
            module[0].get_parameter("weight").mul_(REDUCTION_SCALE)
        case SegmentationNetwork():
            module.classify.weight.mul_(CLASSIFIER_SCALE)
