"""The fusions against the paper's formulas, written out."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from model.network.blocks import (
    Adaptation,
    AddFusion,
    AttentionFusion,
    ChainedResidualPooling,
    CoarseFusion,
    ConcatFusion,
    Refinement,
    ResidualConvUnit,
    box_means,
    crop_at,
    laid_over,
)


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


def test_concat_is_a_1x1_conv_over_slice_context_and_previous_maps() -> None:
    slices, previous, context = torch.randn(2, 8, 6, 6), torch.randn(2, 8, 6, 6), torch.randn(2, 8, 4, 3)
    fusion = ConcatFusion(8, has_context=True)
    kernel = torch.cat([fusion.maps.weight, fusion.project.get_parameter("weight")], 1)
    laid = F.interpolate(context, size=(6, 6), mode="bilinear")
    expected = F.conv2d(torch.cat([slices, previous, laid], 1), kernel)
    found = fusion(slices, previous, laid_over(fusion.project(context), None, (6, 6)))
    torch.testing.assert_close(found, expected)


def test_add_is_a_sum() -> None:
    slices, previous, context = torch.randn(3, 2, 8, 6, 6)
    fusion = AddFusion(8, has_context=True)
    torch.testing.assert_close(fusion(slices, previous, fusion.project(context)), slices + previous + context)
    torch.testing.assert_close(fusion(slices, previous, None), slices + previous)


def test_in_inference_what_a_slice_gets_does_not_depend_on_its_batch() -> None:
    slices, previous, context = torch.randn(7, 37, 3, 3), torch.randn(7, 37, 3, 3), torch.randn(7, 37)
    fusion = AttentionFusion(37, has_context=True)
    with torch.inference_mode():
        whole = fusion(slices, previous, context)
        alone = [fusion(slices[k : k + 1], previous[k : k + 1], context[k : k + 1]) for k in range(7)]
    assert torch.equal(whole, torch.cat(alone))


def test_the_coarsest_block_concatenates_slice_and_context_in_that_order() -> None:
    slices, context = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    fusion = CoarseFusion(4, concatenate=True)
    assert fusion.conv is not None
    kernel = fusion.conv.weight
    expected = F.conv2d(slices, kernel[:, :4]) + F.conv2d(context, kernel[:, 4:])
    torch.testing.assert_close(fusion(slices, context), expected)


def test_the_coarsest_block_of_add_is_a_sum() -> None:
    slices, context = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    assert torch.equal(CoarseFusion(4, concatenate=False)(slices, context), slices + context)


def test_a_residual_unit_is_its_formula() -> None:
    unit, features = ResidualConvUnit(4), torch.randn(2, 4, 5, 5)
    kept = features.clone()
    inner = F.conv2d(F.relu(features), unit.conv1.weight, unit.conv1.bias, padding=1)
    expected = features + F.conv2d(F.relu(inner), unit.conv2.weight, padding=1)
    torch.testing.assert_close(unit(features), expected)
    assert torch.equal(features, kept)


def test_chained_pooling_is_its_formula_four_stages_deep() -> None:
    pooling, features = ChainedResidualPooling(4), torch.randn(2, 4, 9, 9)
    assert len(pooling.convs) == 4
    expected = path = F.relu(features)
    for conv in pooling.convs:
        path = F.conv2d(F.max_pool2d(path, 5, stride=1, padding=2), conv.get_parameter("weight"))
        expected = expected + path
    torch.testing.assert_close(pooling(features), expected)


def test_blocks_have_the_papers_units() -> None:
    assert [type(part) for part in Adaptation(6, 4)] == [nn.Conv2d, ResidualConvUnit, ResidualConvUnit]
    assert [type(part) for part in Refinement(4)] == [ChainedResidualPooling, *[ResidualConvUnit] * 3]


def test_light_blocks_have_1x1_convs_alone() -> None:
    assert [type(part) for part in Adaptation(6, 4, light=True)] == [nn.Conv2d]
    light = Refinement(4, light=True)
    assert [type(part) for part in light] == [ChainedResidualPooling, *[ResidualConvUnit] * 3]
    assert {part.kernel_size for part in light.modules() if isinstance(part, nn.Conv2d)} == {(1, 1)}


def test_a_light_unit_sees_its_own_pixel_alone() -> None:
    unit, features = ResidualConvUnit(4, 1), torch.randn(2, 4, 6, 5)
    inner = F.conv2d(F.relu(features), unit.conv1.weight, unit.conv1.bias)
    torch.testing.assert_close(unit(features), features + F.conv2d(F.relu(inner), unit.conv2.weight))


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


FRACTION = st.floats(-0.5, 1.5, width=32)


@given(x=st.tuples(FRACTION, FRACTION), y=st.tuples(FRACTION, FRACTION), height=st.integers(1, 9))
def test_a_crop_of_a_ramp_holds_the_ramps_values_at_the_place(
    x: tuple[float, float], y: tuple[float, float], height: int
) -> None:
    # Channels 0 and 1 say of each pixel how far right and down its centre lies, as a fraction of the map.
    across, down = (torch.arange(7) + 0.5) / 7, (torch.arange(5) + 0.5) / 5
    ramps = torch.stack([across.expand(5, 7), down[:, None].expand(5, 7)])[None]
    (left, right), (top, bottom) = sorted(x), sorted(y)
    crop = crop_at(ramps, torch.tensor([[left, top, right, bottom]]), (height, 4))
    for axis, (start, end, count, centres) in enumerate(
        ((left, right, 4, across), (top, bottom, height, down))
    ):
        expected = start + (torch.arange(count) + 0.5) / count * (end - start)
        expected = expected.clamp(float(centres[0]), float(centres[-1]))  # the last pixels go on
        found = crop[0, axis].mean(axis)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(crop[0, axis].amax(axis), found, rtol=0, atol=1e-5)


def test_windows_of_one_map_are_laid_over_the_grid_each_from_its_place() -> None:
    maps = torch.rand(1, 3, 8, 8)
    windows = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.5, 0.25, 1.0, 0.75]])
    laid = laid_over(maps, windows, (4, 4))
    torch.testing.assert_close(laid, torch.stack([maps[0, :, :4, :4], maps[0, :, 2:6, 4:]]))


def test_each_map_is_cropped_at_its_own_place() -> None:
    maps = torch.rand(2, 3, 8, 8)
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.5, 0.25, 0.75, 0.75]])
    crops = crop_at(maps, boxes, (8, 8)), crop_at(maps, boxes, (4, 2))
    torch.testing.assert_close(crops[0][0], maps[0])
    torch.testing.assert_close(crops[1][1], maps[1, :, 2:6, 4:6])


def test_gradients_of_a_crop_stay_at_its_place() -> None:
    maps = torch.zeros(1, 1, 8, 8, requires_grad=True)
    crop_at(maps, torch.tensor([[0.25, 0.5, 0.5, 0.75]]), (16, 16)).sum().backward()
    assert maps.grad is not None
    rows, columns = maps.grad[0, 0].nonzero().unbind(1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 6, 1, 4)


def test_box_means_count_pixels_that_are_covered_in_part_in_part() -> None:
    ramp = torch.arange(8.0).expand(8, 8)
    maps = torch.stack([ramp, ramp.T])[None]
    boxes = torch.tensor([[0, 0, 1, 1], [0.125, 0.25, 0.3125, 0.75], [-0.5, 0, 0.5, 2]])
    expected = torch.tensor([[3.5, 3.5], [(1 + 0.5 * 2) / 1.5, 3.5], [1.5, 3.5]])
    torch.testing.assert_close(box_means(maps, boxes), expected)


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize("margin", [0, 1, 2, 5, 9, 14, 16])
def test_a_refinement_with_a_margin_is_the_whole_one_without_its_edges(margin: int, light: bool) -> None:
    refinement, fused = Refinement(8, light=light).eval(), torch.randn(2, 8, 40, 37)
    with torch.inference_mode():
        whole, part = refinement(fused), refinement(fused, margin)
    assert part.shape == (2, 8, 40 - 2 * margin, 37 - 2 * margin)
    torch.testing.assert_close(part, whole[:, :, margin : 40 - margin, margin : 37 - margin])


def test_a_margin_saves_arithmetic() -> None:
    def flops(margin: int) -> int:
        with FlopCounterMode(display=False) as counter:
            Refinement(8)(torch.randn(1, 8, 40, 40), margin)
        return int(counter.get_total_flops())

    assert flops(14) < 0.7 * flops(0)
    assert flops(14) < flops(4) < flops(2) < flops(0)
