"""Encoders must be the ResNets whose ImageNet checkpoints everyone has."""

import pytest
import torch

from model.network.encoder import ResNetEncoder, fold_batch_norms

from ..published import resnet_checkpoint

# Parameters of the published ResNets, less their final fully connected layer.
PUBLISHED = {
    18: 11_689_512 - 513_000,
    34: 21_797_672 - 513_000,
    50: 25_557_032 - 2_049_000,
    101: 44_549_160 - 2_049_000,
    152: 60_192_808 - 2_049_000,
}


@pytest.mark.parametrize("depth", PUBLISHED)
def test_parameter_count_is_the_published_one(depth: int) -> None:
    with torch.device("meta"):
        encoder = ResNetEncoder(depth)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == PUBLISHED[depth]


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_state_dict_has_the_names_and_shapes_of_imagenet_checkpoints(depth: int) -> None:
    with torch.device("meta"):
        state = ResNetEncoder(depth).state_dict()
    published = resnet_checkpoint(depth)
    del published["fc.weight"], published["fc.bias"]
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == published


def test_bottleneck_carries_its_stride_in_the_3x3_conv() -> None:
    with torch.device("meta"):
        encoder = ResNetEncoder(50)
    block = encoder.get_submodule("layer2.0")
    assert block.get_submodule("conv2").stride == (2, 2)
    assert block.get_submodule("conv1").stride == (1, 1)


@pytest.mark.parametrize("depth", [18, 50])
def test_features_come_at_strides_4_to_32(depth: int) -> None:
    encoder = ResNetEncoder(depth, width=8)
    features = encoder(torch.zeros(1, 3, 64, 96))
    assert [tuple(f.shape[1:]) for f in features] == [
        (channels, 16 // 2**k, 24 // 2**k) for k, channels in enumerate(encoder.channels)
    ]


@pytest.mark.parametrize("depth", [18, 50])
def test_folding_keeps_the_features_and_leaves_no_batch_norm(depth: int) -> None:
    torch.manual_seed(0)
    encoder = ResNetEncoder(depth, width=8)
    encoder(torch.randn(4, 3, 64, 64))  # moves the running statistics away from 0 and 1
    encoder.eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = encoder(images)
        fold_batch_norms(encoder)
        folded = encoder(images)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in encoder.modules())
    for before, after in zip(expected, folded, strict=True):
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
