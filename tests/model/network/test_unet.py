"""The baseline."""

import pytest
import torch

from model.card import NetworkConfig
from model.errors import InputError
from model.network.build import build_network
from model.network.encoder import fold_batch_norms
from model.network.unet import UNet


def tiny() -> UNet:
    torch.manual_seed(0)
    return UNet(3, width=8, dropout=0.0)


def parameters_as_published(width: int, classes: int) -> int:
    """Parameters of 3x3 convs in pairs, five scales down and four up, 2x2 transposed convs and a final 1x1.

    Batch norm takes the place of the convs' biases.
    """

    def pair(channels: int, out: int) -> int:
        return 9 * channels * out + 9 * out * out + 4 * out

    down = pair(3, width) + sum(pair(width * 2**k, width * 2 ** (k + 1)) for k in range(4))
    up = sum(4 * 2 * w * w + w + pair(2 * w, w) for w in (width * 2**k for k in range(4)))
    return down + up + width * classes + classes


@pytest.mark.parametrize("width", [16, 64])
def test_it_has_the_published_layout(width: int) -> None:
    with torch.device("meta"):
        network = build_network(
            NetworkConfig(architecture="unet", encoder_width=width, second_input="single"), 4
        )
    assert sum(p.numel() for p in network.parameters()) == parameters_as_published(width, 4)


def test_logits_cover_the_slice_and_everything_trains() -> None:
    network = tiny()
    logits = network(torch.randn(2, 3, 64, 96))
    assert logits.shape == (2, 3, 64, 96)
    logits.square().sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_what_it_says_of_a_pixel_follows_the_pixel() -> None:
    network = tiny().eval()
    slices = torch.zeros(1, 3, 384, 384)
    slices[..., 176:208, 176:208] = 1
    with torch.no_grad():
        # In the middle, which the padding at the borders does not reach.
        here = network(slices)[..., 144:240, 144:240]
        moved = network(slices.roll((32, -16), (2, 3)))[..., 176:272, 128:224]
    torch.testing.assert_close(moved, here)
    assert here.std() > 0


def test_context_and_boxes_are_ignored() -> None:
    network = tiny().eval()
    slices = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(slices), network(slices, slices, torch.zeros(1, 4)))
    with pytest.raises(InputError, match="UNet of this kind sees no context"):
        network.encode_context(slices)


def test_sides_that_are_no_multiples_of_32_are_refused() -> None:
    with pytest.raises(InputError, match="multiples of 32"):
        tiny()(torch.zeros(1, 3, 64, 50))


def test_folding_keeps_the_logits_and_leaves_no_batch_norm() -> None:
    network = tiny()
    network(torch.randn(4, 3, 64, 64))  # moves the running statistics away from 0 and 1
    network.eval()
    slices = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = network(slices)
        fold_batch_norms(network)
        torch.testing.assert_close(network(slices), expected, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
