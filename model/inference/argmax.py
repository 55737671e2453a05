"""From logits to class values at label pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor


def argmax_labels(logits: Tensor, window_px: int, halo_px: int) -> Tensor:
    """Class values 1..K (N, window_px - 2 * halo_px, same) uint8 in the middle of windows, from their logits (N, K, h, h).

    Logits are enlarged bilinearly, edges of pixels aligned, and the largest counts, the first of equals.
    """
    logits, window_px, halo_px = _without_halo(logits, window_px, halo_px)
    logits = F.interpolate(logits, size=(window_px, window_px), mode="bilinear", align_corners=False)
    kept = logits[:, :, halo_px : window_px - halo_px, halo_px : window_px - halo_px]
    if kept.device.type != "cpu":
        return (kept.argmax(1) + 1).to(torch.uint8)
    return torch.stack([_largest(planes) for planes in kept]).add_(1)


def _without_halo(logits: Tensor, window_px: int, halo_px: int) -> tuple[Tensor, int, int]:
    """Logits of less of the halo, with window and halo cut as much: what is kept of them, enlarged, is the same.

    One logit of margin is left; what lies outside of it has no part in what is kept. Only where a logit is a whole number of
    pixels; elsewhere all stays as it is.
    """
    side = logits.shape[-1]
    px, rest = divmod(window_px, side)
    if rest or halo_px % px:
        return logits, window_px, halo_px
    spare = max(0, halo_px // px - 1)
    kept = slice(spare, side - spare)
    return logits[:, :, kept, kept], window_px - 2 * spare * px, halo_px - spare * px


def _largest(planes: Tensor) -> Tensor:
    """uint8 (H, W): argmax over (K, H, W), the first of equals; for few planes on a CPU a tenth of the time of argmax."""
    largest, indices = planes[0], torch.zeros(planes.shape[1:], dtype=torch.uint8)
    for index, plane in enumerate(planes[1:], start=1):
        indices.masked_fill_(plane > largest, index)
        largest = torch.maximum(largest, plane)
    return indices
