"""5x5 max-pool of stride 1 for chained residual pooling, in three ways that give the same values.

Maps are (N, C, H, W). Infinite and not-a-number pixels are treated alike by all three.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

RADIUS_PX = 2
"""Pixels that a pool sees beyond its own, on each side."""

NARROW_CHANNELS = 32
"""Most channels at which maxima of shifted maps are the faster way in float32; in half precision they are at
any number."""


def max_pool(features: Tensor, *, valid: bool = False) -> Tensor:
    """Return the 5x5 max-pool of stride 1, in the fastest of three ways with the same values.

    With `valid`, pixels within RADIUS_PX of an edge are left out; else the size is kept, and a pool sees
    nothing beyond the edge. In inference on a CPU it goes by maxima of shifted maps in half precision and
    where maps are narrow, else by column and row (docs/decisions/0065). Not in training: of equal values
    another one would get the gradient. Nor in a traced graph, whose quantiser would take the infinite pixels
    that maxima put around a map for the range of its values.
    """
    if torch.is_grad_enabled() or features.device.type != "cpu":
        return max_pool_square(features, valid=valid)
    traced = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]  # not in the stubs
    if maxima_are_faster(features) and not traced:
        return max_pool_by_maxima(features, valid=valid)
    return max_pool_by_column_and_row(features, valid=valid)


def maxima_are_faster(features: Tensor) -> bool:
    """Tell whether `max_pool_by_maxima` takes less time on a CPU than `max_pool_by_column_and_row`."""
    return features.element_size() < 4 or features.shape[1] <= NARROW_CHANNELS


def max_pool_square(features: Tensor, *, valid: bool = False) -> Tensor:
    """Return the 5x5 max-pool of stride 1, with 25 values compared at each pixel; `valid`: see `max_pool`."""
    return F.max_pool2d(features, 5, 1, 0 if valid else RADIUS_PX)


def max_pool_by_column_and_row(features: Tensor, *, valid: bool = False) -> Tensor:
    """Return the 5x5 max-pool of stride 1, with 5 + 5 values compared at each pixel; `valid`: see `max_pool`.

    Memory: one map more for the maxima of the columns.
    """
    padding = 0 if valid else RADIUS_PX
    return F.max_pool2d(F.max_pool2d(features, (5, 1), 1, (padding, 0)), (1, 5), 1, (0, padding))


def max_pool_by_maxima(features: Tensor, *, valid: bool = False) -> Tensor:
    """Return the 5x5 max-pool of stride 1 as six maxima of shifted maps; `valid`: see `max_pool`.

    A maximum of two maps keeps no indices and uses vectors at any number of channels. Memory: three maps
    more.
    """
    if not valid:
        features = F.pad(features, (RADIUS_PX,) * 4, value=-torch.inf)
    return _largest_of_five(_largest_of_five(features, 2), 3)


def _largest_of_five(maps: Tensor, axis: int) -> Tensor:
    """Return the largest of each five neighbours along an axis, which grows four shorter."""
    count = maps.shape[axis]
    two = torch.maximum(maps.narrow(axis, 0, count - 1), maps.narrow(axis, 1, count - 1))
    four = torch.maximum(two.narrow(axis, 0, count - 3), two.narrow(axis, 2, count - 3))
    return torch.maximum(four.narrow(axis, 0, count - 4), maps.narrow(axis, 4, count - 4))
