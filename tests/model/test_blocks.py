"""The fusions against the paper's formulas, written out."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from model.blocks import AddFusion, AttentionFusion, ChainedResidualPooling, ConcatFusion, ResidualConvUnit


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def spread(vector: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return vector[:, :, None, None].expand_as(like)


def test_attention_weighs_each_slice_channel_by_the_pooled_concatenation() -> None:
    slices, previous, context = torch.randn(2, 8, 6, 6), torch.randn(2, 8, 6, 6), torch.randn(2, 8)
    fusion = AttentionFusion(8, has_context=True)
    fused = torch.cat([slices, spread(context, slices), previous], 1)
    pooled = F.adaptive_avg_pool2d(fused, 1).flatten(1)
    weights = torch.sigmoid(fusion.excite(F.relu(fusion.squeeze(pooled))))
    expected = slices * weights[:, :, None, None] + previous
    torch.testing.assert_close(fusion(slices, previous, context), expected)


def test_concat_is_a_1x1_conv_over_the_spread_out_concatenation() -> None:
    slices, previous, context = torch.randn(2, 8, 6, 6), torch.randn(2, 8, 6, 6), torch.randn(2, 8)
    fusion = ConcatFusion(8, has_context=True)
    assert fusion.context is not None
    kernel = torch.cat([fusion.maps.weight, fusion.context.weight[:, :, None, None]], 1)
    expected = F.conv2d(torch.cat([slices, previous, spread(context, slices)], 1), kernel)
    torch.testing.assert_close(fusion(slices, previous, context), expected)


def test_add_is_a_sum() -> None:
    slices, previous, context = torch.randn(2, 8, 6, 6), torch.randn(2, 8, 6, 6), torch.randn(2, 8)
    fusion = AddFusion(8, has_context=True)
    torch.testing.assert_close(fusion(slices, previous, context), slices + previous + spread(context, slices))
    torch.testing.assert_close(fusion(slices, previous, None), slices + previous)


def test_a_residual_unit_with_silent_second_conv_is_the_identity() -> None:
    unit = ResidualConvUnit(4)
    nn.init.zeros_(unit.conv2.weight)
    features = torch.randn(1, 4, 5, 5)
    assert torch.equal(unit(features), features)


def test_pooling_reaches_two_px_further_with_each_stage() -> None:
    pooling = ChainedResidualPooling(1, stages=2)
    for conv in pooling.convs:
        nn.init.ones_(conv.get_parameter("weight"))
    point = torch.zeros(1, 1, 11, 11)
    point[..., 5, 5] = 1
    rows = pooling(point)[0, 0, 5]
    assert rows.tolist() == [0, 1, 1, 2, 2, 3, 2, 2, 1, 1, 0]
