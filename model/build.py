"""From the card's description of a network to the network."""

from collections.abc import Callable, Mapping

from .card import NetworkConfig
from .da_refinenet import DaRefineNet


def build_network(config: NetworkConfig, classes: int, *, dropout: float = 0.5) -> DaRefineNet:
    """The network of that architecture with fresh weights, in training mode, on the current default
    device."""
    return ARCHITECTURES[config.architecture](config, classes, dropout)


def _da_refinenet(config: NetworkConfig, classes: int, dropout: float) -> DaRefineNet:
    return DaRefineNet(
        classes,
        encoder_depth=config.encoder_depth,
        context_depth=config.context_depth,
        encoder_width=config.encoder_width,
        decoder_width=config.decoder_width,
        fusion=config.fusion,
        second_input=config.second_input,
        dropout=dropout,
    )


ARCHITECTURES: Mapping[str, Callable[[NetworkConfig, int, float], DaRefineNet]] = {
    "da_refinenet": _da_refinenet
}
"""Architecture names a card may use. A network answers the calls of DaRefineNet: forward and
encode_context."""
