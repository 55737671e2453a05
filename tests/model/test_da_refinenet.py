"""The network: sizes of the paper, every variant, and the context encoded once a patch."""

from typing import Any

import pytest
import torch

from model.build import build_network
from model.card import NetworkConfig
from model.da_refinenet import DaRefineNet
from model.errors import InputError

TABLE_1_MB = {
    ("dual", 50): 441,
    ("dual", 101): 517,
    ("dual", 152): 580,
    ("multi-size", 50): 441,
    ("multi-size", 101): 517,
    ("multi-size", 152): 580,
    ("single", 50): 334,
    ("single", 101): 417,
    ("single", 152): 480,
}


def tiny(**arguments: Any) -> DaRefineNet:
    torch.manual_seed(0)
    return DaRefineNet(
        3, encoder_depth=18, context_depth=18, encoder_width=8, decoder_width=8, **arguments
    ).eval()


@pytest.mark.parametrize(("second_input", "depth"), TABLE_1_MB)
def test_fp32_size_is_that_of_table_1(second_input: Any, depth: int) -> None:
    with torch.device("meta"):
        network = DaRefineNet(4, encoder_depth=depth, fusion="add", second_input=second_input)
    megabytes = sum(parameter.numel() for parameter in network.parameters()) * 4 / 1e6
    assert megabytes == pytest.approx(TABLE_1_MB[second_input, depth], rel=0.03)


@pytest.mark.parametrize("fusion", ["attention", "concat", "add"])
def test_encoding_the_context_once_equals_encoding_it_for_every_slice(fusion: Any) -> None:
    network = tiny(fusion=fusion)
    slices, contexts = torch.randn(6, 3, 64, 64), torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        cached = network(slices, network.encode_context(contexts))
        plain = [network(slices[k : k + 1], contexts[k // 3 : k // 3 + 1]) for k in range(6)]
    torch.testing.assert_close(cached, torch.cat(plain), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("second_input", ["dual", "multi-size", "single"])
@pytest.mark.parametrize("fusion", ["attention", "concat", "add"])
def test_every_variant_gives_stride_4_logits_and_trains_all_it_has(fusion: Any, second_input: Any) -> None:
    network = tiny(fusion=fusion, second_input=second_input, dropout=0.0).train()
    logits = network(torch.randn(2, 3, 64, 96), torch.randn(1, 3, 96, 96))
    assert logits.shape == (2, 3, 16, 24)
    logits.square().sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("second_input", "matters"), [("dual", True), ("multi-size", False), ("single", False)]
)
def test_only_a_dual_network_looks_at_the_context(second_input: Any, matters: bool) -> None:
    network = tiny(second_input=second_input)
    slices = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        one, other = (network(slices, context) for context in torch.randn(2, 1, 3, 64, 64))
    assert torch.equal(one, other) is not matters


def test_a_dual_network_without_context_is_refused() -> None:
    with pytest.raises(InputError, match="pass `context`"):
        tiny()(torch.zeros(1, 3, 64, 64))


def test_slices_that_cannot_share_the_contexts_are_refused() -> None:
    with pytest.raises(InputError, match="3 slices cannot share 2 contexts"):
        tiny()(torch.zeros(3, 3, 64, 64), torch.zeros(2, 3, 64, 64))


def test_sides_that_are_no_multiples_of_32_are_refused() -> None:
    with pytest.raises(InputError, match="multiples of 32"):
        tiny()(torch.zeros(1, 3, 64, 50), torch.zeros(1, 3, 64, 64))


def test_build_network_follows_the_config() -> None:
    config = NetworkConfig(
        encoder_depth=34,
        encoder_width=8,
        context_depth=18,
        decoder_width=16,
        fusion="concat",
        second_input="dual",
    )
    with torch.device("meta"):
        built = build_network(config, 5, dropout=0.2)
        expected = DaRefineNet(
            5, encoder_depth=34, context_depth=18, encoder_width=8, decoder_width=16, fusion="concat"
        )
    shapes = {name: tensor.shape for name, tensor in expected.state_dict().items()}
    assert {name: tensor.shape for name, tensor in built.state_dict().items()} == shapes
    assert built.dropout.p == 0.2
