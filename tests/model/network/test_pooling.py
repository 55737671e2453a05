"""The ways of pooling: the same values, in training and in inference."""

import pytest
import torch
from torch import nn

from model.network.blocks import ChainedResidualPooling
from model.network.pooling import (
    max_pool,
    max_pool_by_column_and_row,
    max_pool_by_maxima,
    max_pool_square,
)


@pytest.mark.parametrize("valid", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 32, 40, 40), (1, 96, 23, 31), (2, 256, 20, 20), (1, 8, 5, 6)])
def test_all_ways_give_the_bits_of_the_square(
    shape: tuple[int, int, int, int], dtype: torch.dtype, valid: bool
) -> None:
    maps = torch.randn(shape).to(dtype).to(memory_format=torch.channels_last)
    maps[0, 0, 0, 0], maps[0, 1, 1, 1], maps[0, 2, 2, 2] = -torch.inf, torch.inf, torch.nan
    expected = max_pool_square(maps, valid=valid)
    with torch.inference_mode():
        for way in (max_pool_by_column_and_row, max_pool_by_maxima, max_pool):
            pooled = way(maps, valid=valid)
            assert pooled.shape == expected.shape
            assert torch.equal(pooled.nan_to_num(7.0), expected.nan_to_num(7.0))
            assert pooled.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("way", [max_pool_by_column_and_row, max_pool_by_maxima])
def test_maps_smaller_than_a_pool_are_pooled(way: object) -> None:
    assert callable(way)
    maps = torch.randn(1, 8, 2, 3)
    assert torch.equal(way(maps), max_pool_square(maps))


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (16, 11)])
def test_pooling_in_inference_is_that_of_training_to_the_bit(size: tuple[int, int]) -> None:
    pooling, features = ChainedResidualPooling(4), torch.randn(2, 4, *size)
    trained = pooling(features)
    with torch.inference_mode():
        assert torch.equal(pooling(features), trained)


def test_pooling_in_training_gives_the_gradient_to_the_first_of_equals_by_row() -> None:
    pooling = ChainedResidualPooling(1, stages=1)
    nn.init.ones_(pooling.convs[0].get_parameter("weight"))
    # By columns the lower left one would come first. Its relu gives each 1; the pool's four outputs go to
    # one.
    features = torch.tensor([[[[0.5, 1.0], [1.0, 0.5]]]], requires_grad=True)
    pooling(features).sum().backward()
    assert features.grad is not None
    assert features.grad[0, 0].tolist() == [[1, 5], [1, 1]]


@pytest.mark.filterwarnings("ignore")
def test_a_traced_graph_holds_pools_and_no_infinite_pixels() -> None:
    pooling = ChainedResidualPooling(4).requires_grad_(requires_grad=False)
    with torch.no_grad():
        features = torch.randn(1, 4, 9, 9)
        traced = torch.jit.trace(pooling, features)
        assert torch.equal(traced(features), pooling(features))
    operations = {node.kind() for node in traced.inlined_graph.nodes()}
    assert "aten::max_pool2d" in operations
    assert not operations & {"aten::maximum", "aten::pad"}
