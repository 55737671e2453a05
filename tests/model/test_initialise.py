"""First weights."""

import math

import torch

from model.build import build_network
from model.card import NetworkConfig
from model.initialise import initialise

CONFIG = NetworkConfig(encoder_depth=18, encoder_width=16, context_depth=18, decoder_width=32)


def test_a_seed_decides_every_weight_whatever_was_drawn_before() -> None:
    networks = []
    for draws in (1, 2):
        torch.rand(draws)
        network = build_network(CONFIG, 4)
        initialise(network, seed=5)
        networks.append(network.state_dict())
    assert [name for name in networks[0] if not torch.equal(networks[0][name], networks[1][name])] == []


def test_a_fresh_network_finds_all_classes_about_equally_likely() -> None:
    network = build_network(CONFIG, 4, dropout=0.0)
    initialise(network, seed=1)
    logits = network(torch.randn(2, 3, 128, 128), torch.randn(1, 3, 160, 160))
    loss = torch.nn.functional.cross_entropy(logits, torch.randint(0, 4, (2, 32, 32)))
    assert abs(loss.item() - math.log(4)) < 0.1
