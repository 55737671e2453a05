"""Count a network's parameters and its FLOPs for one slice and one context."""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..card import NetworkConfig
from .build import build_network

COUNTED_SIDE_PX = 512
"""Side of the slice and the context that are counted: the paper's 500 px, brought to a multiple of 32."""


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """Parameters and arithmetic of a network.

    GFLOP are 1e9 multiplications and additions of convolutions and matrix products.
    """

    parameters: int
    slice_gflop: float
    """For one slice whose context is encoded already; includes the second input of "multi-size"."""
    context_gflop: float | None
    """For one context, shared by all slices of a patch; None for a network that takes none."""

    @property
    def fp32_mb(self) -> float:
        """Size of the parameters as float32, in megabytes (1e6 bytes)."""
        return self.parameters * 4 / 1e6


def network_cost(config: NetworkConfig, *, classes: int = 4, side_px: int = COUNTED_SIDE_PX) -> NetworkCost:
    """Count the parameters and FLOPs of a network on slices and contexts of `side_px` square.

    Runs on the meta device, which allocates no weights and no pixels.
    """
    with torch.device("meta"), torch.no_grad():
        network = build_network(config, classes).eval()
        images, boxes = torch.empty(1, 3, side_px, side_px), torch.empty(1, 4)
        context, context_gflop = None, None
        if config.sees_patch:
            with FlopCounterMode(display=False) as counter:
                context = network.encode_context(images)
            context_gflop = counter.get_total_flops() / 1e9
        with FlopCounterMode(display=False) as counter:
            network(images, context, boxes)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return NetworkCost(parameters, counter.get_total_flops() / 1e9, context_gflop)
