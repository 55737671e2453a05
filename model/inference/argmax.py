"""Turn logits into class values at label pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor


def argmax_labels(logits: Tensor, window_px: int, halo_px: int) -> Tensor:
    """Return class values 1..K of windows' centres (N, side, side) uint8 from logits (N, K, h, h).

    side = window_px - 2 * halo_px. Logits are up-sampled bilinearly to the window, edge to edge
    (align_corners=False), then the argmax is taken, the first of equals.
    """
    return largest_labels(centre_logits(logits, window_px, halo_px))


def largest_labels(logits: Tensor) -> Tensor:
    """Return class values 1..K (N, H, W) uint8 of logits (N, K, H, W): the first of the largest."""
    if logits.device.type != "cpu":
        return (logits.argmax(1) + 1).to(torch.uint8)
    return torch.stack([_argmax_planes(planes) for planes in logits]).add_(1)


def centre_logits(logits: Tensor, window_px: int, halo_px: int) -> Tensor:
    """Return the logits (N, K, side, side) of windows' centres at label px, from those of the windows.

    side = window_px - 2 * halo_px; `logits` are (N, K, h, h) and up-sampled bilinearly, edge to edge.
    """
    logits, window_px, halo_px = _crop_halo(logits, window_px, halo_px)
    logits = F.interpolate(logits, size=(window_px, window_px), mode="bilinear", align_corners=False)
    return logits[:, :, halo_px : window_px - halo_px, halo_px : window_px - halo_px]


def _crop_halo(logits: Tensor, window_px: int, halo_px: int) -> tuple[Tensor, int, int]:
    """Crop logits to the kept centre plus one logit of margin; return the adjusted sizes.

    Up-sampled labels of the centre stay the same, because bilinear up-sampling reaches no further than that
    margin. Nothing is cropped where window or halo is not a whole number of logits.
    """
    side = logits.shape[-1]
    px_per_logit, remainder = divmod(window_px, side)
    if remainder or halo_px % px_per_logit:
        return logits, window_px, halo_px
    margin = max(0, halo_px // px_per_logit - 1)
    kept = slice(margin, side - margin)
    margin_px = margin * px_per_logit
    return logits[:, :, kept, kept], window_px - 2 * margin_px, halo_px - margin_px


def _argmax_planes(planes: Tensor) -> Tensor:
    """Return the argmax over (K, H, W) as uint8 (H, W), the first of equals.

    On a CPU this is much faster than torch's argmax, and than writing indices where a mask says so: later
    indices are larger, so that the maximum of indices is the last that was an improvement.
    """
    largest, indices = planes[0], torch.zeros(planes.shape[1:], dtype=torch.uint8)
    for index, plane in enumerate(planes[1:], start=1):
        improved = (plane > largest).view(torch.uint8)
        torch.maximum(indices, improved.mul_(index), out=indices)
        largest = torch.maximum(largest, plane)
    return indices
