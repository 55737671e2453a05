"""Feed windows to a network that takes one size only: in overlapping pieces, put together again."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

OVERLAP = 0.25
"""Share of a piece's side that it shares with the next one, at least."""


def cut(windows: Tensor, side: int) -> tuple[Tensor, tuple[int, ...]]:
    """Cut windows (N, C, W, W) into pieces (N * k * k, C, side, side), row by row.

    Also returns the k starts of the pieces along an axis, px of the window. Where windows are smaller than a
    piece, their edges are repeated around them, and the one start is not above 0.
    """
    width = windows.shape[-1]
    if width <= side:
        before = (side - width) // 2
        after = side - width - before
        return F.pad(windows, (before, after, before, after), mode="replicate"), (-before,)
    step = side - round(OVERLAP * side)
    count = -(-(width - side) // step) + 1
    starts = tuple(round(index * (width - side) / (count - 1)) for index in range(count))
    pieces = [windows[:, :, y : y + side, x : x + side] for y in starts for x in starts]
    return torch.stack(pieces, 1).flatten(0, 1), starts


def stitch(pieces: Tensor, starts: tuple[int, ...], *, side: int, width: int) -> Tensor:
    """Put the logits (N * k * k, K, h, h) of pieces together to (N, K, width, width), at window px.

    `side` and `width` are those of pieces and windows, px. Each pixel is that of the piece whose middle is
    nearest: pieces meet half way in their overlap.
    """
    if pieces.shape[-1] != side:
        pieces = F.interpolate(pieces, size=(side, side), mode="bilinear", align_corners=False)
    k = len(starts)
    own = pieces.view(-1, k, k, *pieces.shape[1:])
    meets = [0, *((a + side + b) // 2 for a, b in pairwise(starts)), width]
    kept = [slice(meets[i] - starts[i], meets[i + 1] - starts[i]) for i in range(k)]
    rows = [torch.cat([own[:, y, x, :, kept[y], kept[x]] for x in range(k)], 3) for y in range(k)]
    return torch.cat(rows, 2)
