"""First weights."""

import math

import pytest
import torch

from model.card import NetworkConfig
from model.network.build import build_network
from model.network.init import initialise

CONFIGS = [
    NetworkConfig(encoder_depth=18, encoder_width=16, context_depth=18, decoder_width=32),
    NetworkConfig(
        encoder_depth=18, encoder_width=16, context_depth=18, decoder_width=32, second_input="aligned"
    ),
    NetworkConfig(architecture="unet", encoder_width=16, second_input="single"),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_seed_decides_every_weight_whatever_was_drawn_before(config: NetworkConfig) -> None:
    networks = []
    for draws in (1, 2):
        torch.rand(draws)
        network = build_network(config, 4)
        initialise(network, seed=5)
        networks.append(network.state_dict())
    assert [name for name in networks[0] if not torch.equal(networks[0][name], networks[1][name])] == []


@pytest.mark.parametrize("config", CONFIGS)
def test_a_fresh_network_finds_all_classes_about_equally_likely(config: NetworkConfig) -> None:
    network = build_network(config, 4, dropout=0.0)
    initialise(network, seed=1)
    logits = network(torch.randn(2, 3, 128, 128), torch.randn(1, 3, 160, 160), torch.rand(2, 4))
    labels = torch.randint(0, 4, (2, *logits.shape[2:]))
    loss = torch.nn.functional.cross_entropy(logits, labels)
    assert abs(loss.item() - math.log(4)) < 0.1


def test_knowing_the_place_changes_nothing_else_in_the_first_weights() -> None:
    dual, aligned = (build_network(config, 4) for config in CONFIGS[:2])
    for network in (dual, aligned):
        initialise(network, seed=1)
    first = aligned.state_dict()
    assert [name for name, tensor in dual.state_dict().items() if not torch.equal(first[name], tensor)] == []
