"""The network: sizes of the paper, every variant, and the context encoded once a patch."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from model.card import NetworkConfig
from model.errors import InputError
from model.network.base import ContextWindows
from model.network.build import build_network
from model.network.da_refinenet import DaRefineNet

FUSIONS = ["attention", "concat", "add"]


def tiny(**arguments: Any) -> DaRefineNet:
    torch.manual_seed(0)
    return DaRefineNet(
        3, encoder_depth=18, context_depth=18, encoder_width=8, decoder_width=8, **arguments
    ).eval()


def some_boxes(count: int) -> torch.Tensor:
    """Squares of a quarter of the context's side."""
    corners = torch.rand(count, 2) * 0.75
    return torch.cat([corners, corners + 0.25], 1)


@pytest.mark.parametrize("second_input", ["dual", "aligned", "hooked"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_encoding_the_context_once_equals_encoding_it_for_every_slice(fusion: Any, second_input: Any) -> None:
    network = tiny(fusion=fusion, second_input=second_input)
    slices, contexts, boxes = torch.randn(6, 3, 64, 64), torch.randn(2, 3, 96, 96), some_boxes(6)
    with torch.no_grad():
        cached = network(slices, network.encode_context(contexts), boxes)
        plain = [
            network(slices[k : k + 1], contexts[k // 3 : k // 3 + 1], boxes[k : k + 1]) for k in range(6)
        ]
    torch.testing.assert_close(cached, torch.cat(plain), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("decoder", ["paper", "light"])
@pytest.mark.parametrize("second_input", ["dual", "aligned", "hooked", "multi-size", "single"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_variant_gives_stride_4_logits_and_trains_all_it_has(
    fusion: Any, second_input: Any, decoder: Any
) -> None:
    network = tiny(fusion=fusion, second_input=second_input, decoder=decoder, dropout=0.0).train()
    logits = network(torch.randn(2, 3, 64, 96), torch.randn(1, 3, 96, 96), some_boxes(2))
    assert logits.shape == (2, 3, 16, 24)
    logits.square().sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("second_input", "context_matters", "place_matters"),
    [
        ("dual", True, False),
        ("aligned", True, True),
        ("hooked", True, True),
        ("multi-size", False, False),
        ("single", False, False),
    ],
)
def test_what_a_network_looks_at(second_input: Any, context_matters: bool, place_matters: bool) -> None:
    network = tiny(second_input=second_input)
    slices, contexts, (here, there) = torch.randn(1, 3, 64, 64), torch.randn(2, 1, 3, 64, 64), some_boxes(2)
    with torch.no_grad():
        base = network(slices, contexts[0], here[None])
        assert torch.equal(base, network(slices, contexts[1], here[None])) is not context_matters
        assert torch.equal(base, network(slices, contexts[0], there[None])) is not place_matters


@pytest.mark.parametrize("fusion", FUSIONS)
def test_an_aligned_network_whose_alignment_is_zero_is_the_dual_network(fusion: Any) -> None:
    dual, aligned = tiny(fusion=fusion), tiny(fusion=fusion, second_input="aligned")
    missing, unexpected = aligned.load_state_dict(dual.state_dict(), strict=False)
    assert missing == [f"align.{k}.weight" for k in range(4)]
    assert unexpected == []
    for conv in aligned.align:
        torch.nn.init.zeros_(conv.get_parameter("weight"))
    slices, contexts = torch.randn(4, 3, 64, 64), torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(aligned(slices, contexts, some_boxes(4)), dual(slices, contexts))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_add_and_concat_see_where_in_the_context_something_lies_attention_pools_it(fusion: Any) -> None:
    network = tiny(fusion=fusion, coarse_context=False)
    slices, context = torch.randn(1, 3, 64, 64), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        features = network.encode_context(context)
        turned = replace(features, maps=tuple(x.flip(3) for x in features.maps))
        assert (features.maps == ()) is (fusion == "attention")
        assert torch.equal(network(slices, features), network(slices, turned)) is (fusion == "attention")


@pytest.mark.parametrize("fusion", FUSIONS)
def test_without_the_coarse_context_the_first_block_sees_the_slice_alone(fusion: Any) -> None:
    with_coarse, without = tiny(fusion=fusion), tiny(fusion=fusion, coarse_context=False)
    slices, context = torch.randn(1, 3, 64, 64), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for network, same in ((with_coarse, False), (without, True)):
            features = network.encode_context(context)
            other = replace(features, coarse=features.coarse + 1)
            assert torch.equal(network(slices, features), network(slices, other)) is same


def test_only_aligned_networks_keep_maps_of_all_scales_and_in_float32() -> None:
    context = torch.zeros(1, 3, 96, 64)
    with torch.no_grad():
        assert tiny().encode_context(context).aligned == ()
        kept = tiny(second_input="aligned").bfloat16().encode_context(context.bfloat16()).aligned
    assert [tuple(x.shape) for x in kept] == [(1, 8, 24, 16), (1, 8, 12, 8), (1, 8, 6, 4), (1, 16, 3, 2)]
    assert {x.dtype for x in kept} == {torch.float32}


def test_an_aligned_network_in_half_precision_keeps_to_it() -> None:
    network = tiny(second_input="aligned").bfloat16()
    slices = torch.randn(2, 3, 64, 64).bfloat16()
    with torch.no_grad():
        assert network(slices, slices[:1], some_boxes(2)).dtype == torch.bfloat16


@pytest.mark.parametrize("boxes", [None, torch.zeros(1, 4), torch.zeros(2, 2)])
def test_an_aligned_network_without_its_boxes_is_refused(boxes: torch.Tensor | None) -> None:
    with pytest.raises(InputError, match=r"needs `boxes` \(2, 4\)"):
        tiny(second_input="aligned")(torch.zeros(2, 3, 64, 64), torch.zeros(1, 3, 64, 64), boxes)


def test_a_single_input_network_has_no_context_to_encode() -> None:
    with pytest.raises(InputError, match="sees no context"):
        tiny(second_input="single").encode_context(torch.zeros(1, 3, 64, 64))


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
    assert isinstance(built, DaRefineNet)
    assert built.dropout.p == 0.2


WHOLE = torch.tensor([[0.0, 0.0, 1.0, 1.0]])


@pytest.mark.parametrize("second_input", ["dual", "aligned", "hooked"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_windows_of_the_whole_context_say_what_the_context_says(fusion: Any, second_input: Any) -> None:
    network = tiny(fusion=fusion, second_input=second_input)
    slices, context, boxes = torch.randn(3, 3, 64, 64), torch.randn(1, 3, 96, 96), some_boxes(3)
    windows = ContextWindows(WHOLE.expand(3, -1), 96)
    with torch.no_grad():
        shared = network(slices, context, boxes)
        own = network(slices, network.encode_context(context, windows), boxes)
    torch.testing.assert_close(own, shared, rtol=1e-4, atol=1e-5)


def test_each_slice_sees_its_own_window_and_no_other() -> None:
    network = tiny(second_input="dual")
    slices, context = torch.randn(1, 3, 64, 64).expand(3, -1, -1, -1), torch.randn(1, 3, 128, 128)
    boxes = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]])
    with torch.no_grad():
        features = network.encode_context(context, ContextWindows(boxes, 64))
        first, same, other = network(slices, features)
        alone = network(slices[:1], network.encode_context(context, ContextWindows(boxes[2:], 64)))
    torch.testing.assert_close(first, same, rtol=0, atol=0)
    assert not torch.allclose(first, other, atol=1e-3)
    torch.testing.assert_close(alone[0], other, rtol=1e-4, atol=1e-5)


def test_a_part_of_the_features_is_that_of_its_slices_and_ends_with_the_last() -> None:
    features = tiny().encode_context(torch.randn(1, 3, 64, 64), ContextWindows(some_boxes(3), 32))
    part = features.part(1, 5)
    assert torch.equal(part.coarse, features.coarse[[1, 2, 2, 2]])
    assert all(torch.equal(a, b[[1, 2, 2, 2]]) for a, b in zip(part.pooled, features.pooled, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("count", "fusion"), [(1, "attention"), (3, "attention"), (2, "concat")])
def test_logits_within_a_margin_are_those_of_the_whole_slice_to_the_bit(
    count: int, fusion: Any, dtype: torch.dtype
) -> None:
    network = tiny(fusion=fusion, second_input="aligned").to(dtype).to(memory_format=torch.channels_last)
    slices = torch.randn(count, 3, 512, 512).to(dtype).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        context, boxes = network.encode_context(slices[:1, :, :96, :96]), some_boxes(count)
        whole = network(slices, context, boxes)
        for margin in (1, 7, 15, 31):
            kept = network(slices, context, boxes, margin)
            assert torch.equal(kept, whole[:, :, margin:-margin, margin:-margin]), margin
