"""Pixels to network inputs."""

import numpy as np
import pytest
import torch

from model.card import Normalisation
from model.errors import InputError
from model.inference.preprocess import Normaliser, _box_weights, box_resized, context_from_region


def test_context_pixels_are_area_means() -> None:
    region = torch.randint(0, 256, (40, 60, 3), dtype=torch.uint8)[:, :40]
    means = region.numpy().reshape(8, 5, 8, 5, 3).mean((1, 3))
    context = context_from_region(region, 8)
    assert context.shape == (1, 3, 8, 8)
    np.testing.assert_allclose(context[0].permute(1, 2, 0).numpy(), means, atol=1.01)


def test_context_commutes_with_turns_even_where_it_does_not_divide() -> None:
    region = torch.randint(0, 256, (47, 47, 3), dtype=torch.uint8)
    turned = context_from_region(torch.rot90(region, 1, (0, 1)), 12)
    torch.testing.assert_close(
        turned, torch.rot90(context_from_region(region, 12), 1, (2, 3)), atol=1.01, rtol=0
    )


def test_both_roads_to_a_context_agree() -> None:
    region = torch.randint(0, 256, (131, 131, 3), dtype=torch.uint8)
    torch.testing.assert_close(context_from_region(region, 27), box_resized(region, 27), atol=1.01, rtol=0)


def test_box_weights_are_made_once_for_all_patches_of_a_size() -> None:
    _box_weights.cache_clear()
    for _ in range(3):
        box_resized(torch.zeros((40, 40, 3), dtype=torch.uint8), 8)
    assert _box_weights.cache_info().misses == 1


def test_a_region_smaller_than_the_context_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be reduced"):
        context_from_region(torch.zeros((10, 10, 3), dtype=torch.uint8), 12)


def test_normalisation_takes_0_to_255_and_gives_mean_0_std_1_units() -> None:
    normalise = Normaliser(Normalisation((0.5, 0.2, 0.0), (0.5, 0.1, 1.0)), torch.device("cpu"))
    white = normalise(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8))
    assert white.flatten().tolist() == pytest.approx([1.0, 8.0, 1.0])
