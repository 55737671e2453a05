"""From pixels to network inputs. Training and inference share these, so that they cannot drift apart."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .card import Normalisation
from .errors import InputError


def context_from_region(region: Tensor, side_px: int) -> Tensor:
    """The patch region as context: (H, W, 3) uint8 -> (1, 3, side_px, side_px) float32 of 0..255, on its
    device.

    Every context pixel is the mean of the region pixels it covers (area), so nothing aliases. Raises
    InputError for a region smaller than the context.
    """
    if min(region.shape[:2]) < side_px:
        raise InputError(
            f"a region of {tuple(region.shape[:2])} px cannot be reduced to a context of {side_px} px"
        )
    # As (3, H, W) the channels become a batch of their own: contiguous rows pool faster than interleaved ones.
    planes = region.permute(2, 0, 1).float()
    return F.adaptive_avg_pool2d(planes, (side_px, side_px)).unsqueeze(0)


class Normaliser:
    """(value / 255 - mean) / std for images (N, 3, H, W) of 0..255, to float32."""

    def __init__(self, normalisation: Normalisation, device: torch.device) -> None:
        mean = torch.tensor(normalisation.mean, device=device).view(1, 3, 1, 1)
        std = torch.tensor(normalisation.std, device=device).view(1, 3, 1, 1)
        self._scale = 1 / (255 * std)
        self._shift = -mean / std

    def __call__(self, images: Tensor) -> Tensor:
        return torch.addcmul(self._shift, images.float(), self._scale).contiguous(
            memory_format=torch.channels_last
        )
