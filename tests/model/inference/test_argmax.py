"""Labels from logits, against enlarging all of them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from model.inference.argmax import argmax_labels


def by_hand(logits: torch.Tensor, window_px: int, halo_px: int) -> torch.Tensor:
    """float64 values (N, K, H, W) of what is kept."""
    size = (window_px, window_px)
    enlarged = F.interpolate(logits.double(), size=size, mode="bilinear", align_corners=False)
    return enlarged[:, :, halo_px : window_px - halo_px, halo_px : window_px - halo_px]


@given(
    seed=st.integers(0, 2**32 - 1),
    side=st.integers(3, 12),
    px=st.integers(1, 8),
    halo=st.integers(0, 3),
    classes=st.integers(2, 5),
    coarse=st.booleans(),
)
def test_labels_are_the_largest_of_enlarged_logits(
    seed: int, side: int, px: int, halo: int, classes: int, coarse: bool
) -> None:
    halo_px = min(halo, (side - 1) // 2) * px
    values = np.random.default_rng(seed).normal(size=(2, classes, side, side)).astype(np.float32)
    logits = torch.from_numpy(values.round() if coarse else values)
    labels = argmax_labels(logits, side * px, halo_px)
    expected = by_hand(logits, side * px, halo_px)
    assert labels.shape == (2, *expected.shape[2:])
    assert labels.dtype == torch.uint8
    chosen = expected.gather(1, labels.long()[:, None] - 1)[:, 0]
    torch.testing.assert_close(chosen, expected.amax(1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("window_px", [12, 37, 64, 100])
def test_windows_of_any_size_are_enlarged(window_px: int) -> None:
    logits = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    expected = by_hand(logits, window_px, 5).argmax(1) + 1
    assert (argmax_labels(logits, window_px, 5) == expected).float().mean() > 0.999


def test_of_equals_the_first_counts() -> None:
    assert argmax_labels(torch.zeros(1, 4, 8, 8), 32, 4).unique().tolist() == [1]


def test_halos_that_end_inside_a_logit_are_cut_where_they_end() -> None:
    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    for halo_px in (3, 6, 9):
        expected = by_hand(logits, 32, halo_px)
        labels = argmax_labels(logits, 32, halo_px)
        assert labels.shape[1:] == (32 - 2 * halo_px,) * 2
        chosen = expected.gather(1, labels.long()[:, None] - 1)[:, 0]
        torch.testing.assert_close(chosen, expected.amax(1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("equal", [(0, 1), (1, 3), (0, 2, 3)])
def test_of_some_equals_the_first_counts(equal: tuple[int, ...]) -> None:
    logits = torch.full((1, 4, 4, 4), -1.0)
    logits[:, list(equal)] = 2.0
    assert argmax_labels(logits, 16, 4).unique().tolist() == [equal[0] + 1]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_labels_do_not_depend_on_what_else_is_in_the_batch(count: int) -> None:
    logits = torch.randn(5, 4, 40, 40, generator=torch.Generator().manual_seed(1))
    whole = argmax_labels(logits, 160, 16)
    assert torch.equal(argmax_labels(logits[:count], 160, 16), whole[:count])
