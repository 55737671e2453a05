"""Reduce a label map by the majority of 2 x 2, so that no class is ever invented."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Reduction = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Halves a (2H, 2W) uint8 map to (H, W); four pixels of value 0 stay 0."""


def reduce_mean(quad: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Halve a (2H, 2W) uint8 map of a quantity to (H, W): the mean of the pixels that are not 0, rounded.

    Value 0 ("not analysed") wins where `reduce_majority` has it, with three or four of the four, so that a
    map of quantities and the label map beside it cover the same pixels at every level.
    """
    if not quad.any():
        return np.zeros((quad.shape[0] // 2, quad.shape[1] // 2), np.uint8)
    parts = [quad[0::2, 0::2], quad[0::2, 1::2], quad[1::2, 0::2], quad[1::2, 1::2]]
    total, count = np.zeros(parts[0].shape, np.uint16), np.zeros(parts[0].shape, np.uint16)
    for part in parts:
        total += part
        count += part > 0
    mean = (total + count // 2) // np.maximum(count, 1)
    return np.where(count >= 2, mean, 0).astype(np.uint8)


def reduce_majority(quad: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Halve a (2H, 2W) uint8 label map to (H, W): each value is one of the four it stands for.

    The most frequent value wins. Value 0 ("not analysed") wins only with three or four of the four; among the
    others a tie goes to the smaller value. So thin tissue stays visible in overviews and the result depends
    on nothing else.
    """
    first = quad.flat[0]
    if (quad == first).all():
        return np.full((quad.shape[0] // 2, quad.shape[1] // 2), first, np.uint8)
    # Sorted, four values have their mode in the middle unless they are pairs: a sorting network, no counting.
    a, b = np.minimum(quad[0::2, 0::2], quad[0::2, 1::2]), np.maximum(quad[0::2, 0::2], quad[0::2, 1::2])
    c, d = np.minimum(quad[1::2, 0::2], quad[1::2, 1::2]), np.maximum(quad[1::2, 0::2], quad[1::2, 1::2])
    lowest, highest = np.minimum(a, c), np.maximum(b, d)
    inner, outer = np.maximum(a, c), np.minimum(b, d)
    second, third = np.minimum(inner, outer), np.maximum(inner, outer)
    lower_pair = (lowest == second) & (lowest != 0)
    upper_pair = third == highest
    no_pair = np.where(lowest == 0, second, lowest)
    mode = np.where(lower_pair, lowest, np.where(upper_pair, third, no_pair))
    # 0, 0, b, c: two zeros are no majority, and of b < c the smaller is the third value.
    mode = np.where((second == 0) & ~upper_pair, third, mode)
    return np.where(second == third, second, mode)
