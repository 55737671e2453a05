"""Majority of 2 x 2, against counting."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from numpy.typing import NDArray

from wsi.writing.reduction import reduce_majority, reduce_mean


def counted_majority(values: list[int]) -> int:
    """The documented rule, slowly."""
    counts = Counter(values)
    if counts[0] >= 3:
        return 0
    del counts[0]
    return min(counts, key=lambda value: (-counts[value], value))


@given(
    nps.arrays(
        np.uint8,
        st.tuples(st.integers(1, 6), st.integers(1, 6)).map(lambda shape: (2 * shape[0], 2 * shape[1])),
        elements=st.integers(0, 5),
    )
)
def test_agrees_with_counting(quad: NDArray[np.uint8]) -> None:
    reduced = reduce_majority(quad)

    for (row, column), value in np.ndenumerate(reduced):
        block = quad[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        assert value == counted_majority([int(v) for v in block.flat])
        assert value in block


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ([0, 0, 0, 7], 0),
        ([0, 0, 7, 7], 7),
        ([0, 0, 7, 3], 3),
        ([0, 9, 7, 3], 3),
        ([4, 4, 2, 2], 2),
        ([4, 4, 2, 3], 4),
        ([0, 5, 5, 1], 5),
        ([255, 255, 255, 255], 255),
    ],
)
def test_rules_by_example(block: list[int], expected: int) -> None:
    assert reduce_majority(np.array(block, np.uint8).reshape(2, 2)).tolist() == [[expected]]


@given(
    nps.arrays(
        np.uint8,
        st.tuples(st.integers(1, 6), st.integers(1, 6)).map(lambda shape: (2 * shape[0], 2 * shape[1])),
        elements=st.sampled_from([0, 0, 1, 2, 127, 254, 255]),
    )
)
def test_a_mean_is_of_the_pixels_that_are_known_and_covers_what_labels_cover(
    quad: NDArray[np.uint8],
) -> None:
    found = reduce_mean(quad)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found > 0, reduce_majority(quad) > 0)
    for y, x in np.ndindex(found.shape):
        known = [int(v) for v in quad[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].flat if v]
        expected = int(sum(known) / len(known) + 0.5) if len(known) >= 2 else 0
        assert found[y, x] == expected
