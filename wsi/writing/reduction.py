"""Reduce a label map by the majority of 2 x 2, so that no class is ever invented."""

import numpy as np
from numpy.typing import NDArray


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
