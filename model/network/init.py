"""First weights for training from scratch."""

import torch
from torch import nn

from .base import SegmentationNetwork
from .blocks import Adaptation, ChainedResidualPooling, ResidualConvUnit

RESIDUAL_SCALE = 0.2
"""The decoder has some thirty residual sums and no batch norm: at full He scale activations would grow with
each."""

REDUCTION_SCALE = 0.15
"""Without batch norm the classifier's curvature grows with the square of the decoder's features, and with it
the learning rate that still converges falls: they start out small."""

CLASSIFIER_SCALE = 0.3
"""All classes start out about equally likely."""


def initialise(network: nn.Module, seed: int) -> None:
    """He-initialise all kernels, damp the decoder's residual branches. The same seed gives the same weights on a
    CPU.
    """
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    with torch.no_grad():
        for module in network.modules():
            _damp(module)


def _damp(module: nn.Module) -> None:
    # The convs by which a context joins at its place stay at full scale: at a fifth of it, or from zero, a network to
    # which only the context tells anything needed more than twice the steps.
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
