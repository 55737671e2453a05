"""Build the network that a model card describes."""

from collections.abc import Callable, Mapping

from ..card import NetworkConfig
from ..errors import CardError
from .base import SegmentationNetwork
from .da_refinenet import DaRefineNet
from .unet import UNet


def build_network(config: NetworkConfig, classes: int, *, dropout: float = 0.5) -> SegmentationNetwork:
    """Build the network of a configuration, in training mode, on the current default device.

    Its weights are PyTorch's own; see `init.initialise` for training from scratch.

    Raises:
        CardError: The network is an ONNX file, which has no layers in torch.
    """
    if config.architecture not in ARCHITECTURES:
        raise CardError(
            f"a network of architecture {config.architecture!r} is a file for ONNX Runtime and cannot be "
            "built, trained or exported here; it can be served"
        )
    return ARCHITECTURES[config.architecture](config, classes, dropout)


def _da_refinenet(config: NetworkConfig, classes: int, dropout: float) -> SegmentationNetwork:
    return DaRefineNet(
        classes,
        encoder_depth=config.encoder_depth,
        context_depth=config.context_depth,
        encoder_width=config.encoder_width,
        decoder_width=config.decoder_width,
        fusion=config.fusion,
        second_input=config.second_input,
        coarse_context=config.coarse_context,
        decoder=config.decoder,
        dropout=dropout,
    )


def _unet(config: NetworkConfig, classes: int, dropout: float) -> SegmentationNetwork:
    return UNet(classes, width=config.encoder_width, dropout=dropout)


ARCHITECTURES: Mapping[str, Callable[[NetworkConfig, int, float], SegmentationNetwork]] = {
    "da_refinenet": _da_refinenet,
    "unet": _unet,
}
"""Architecture name in a card -> function that builds it."""
