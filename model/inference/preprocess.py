"""Turn pixels into network inputs; shared by training and inference, so that they cannot drift apart."""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..card import Normalisation
from ..errors import InputError


def context_from_region(region: Tensor, side_px: int) -> Tensor:
    """Reduce a patch region to its context: (H, W, 3) uint8 -> (1, 3, side_px, side_px) float32 of 0..255.

    The result is on the region's device. Every context pixel is the mean of the region pixels whose centres
    it covers (area), so nothing aliases. On a CPU the value is rounded to a whole number, off by at most 1.

    Raises:
        InputError: The region is smaller than the context.
    """
    if min(region.shape[:2]) < side_px:
        raise InputError(
            f"a region of {tuple(region.shape[:2])} px cannot be reduced to a context of {side_px} px"
        )
    if region.device.type == "cpu":
        return torch.from_numpy(_box_mean(region.numpy(), side_px)).permute(2, 0, 1).unsqueeze(0).float()
    return box_resized(region, side_px)


def _box_mean(region: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    # Pillow's box filters are faster here than torch's pooling, and leave the other cores alone; its
    # `reduce`, for whole factors, is faster still.
    image = Image.fromarray(region)
    factor = image.width // side_px
    whole = image.size == (factor * side_px, factor * side_px)
    return np.array(image.reduce(factor) if whole else image.resize((side_px, side_px), Image.Resampling.BOX))


def box_resized(region: Tensor, side_px: int) -> Tensor:
    """Reduce a region (H, W, 3) by area to (1, 3, side_px, side_px) float32, not rounded.

    Two small matrix products, which suit a GPU.
    """
    down, across = (_box_weights(length, side_px, region.device) for length in region.shape[:2])
    planes = region.permute(2, 0, 1).float()
    return (down @ planes @ across.T).unsqueeze(0)


@lru_cache(maxsize=4)
def _box_weights(length: int, side_px: int, device: torch.device) -> Tensor:
    """Return weights (side_px, length) float32 of input pixels in output pixels; rows sum to 1."""
    output_of = ((torch.arange(length, dtype=torch.float64) + 0.5) * side_px / length).long()
    covered = (output_of == torch.arange(side_px)[:, None]).float()
    return (covered / covered.sum(1, keepdim=True)).to(device)


class Normaliser:
    """Normalisation (white * value / 255 - mean) / std of images with values 0..255.

    `white` is the value of white in the unit of mean and deviation.
    """

    def __init__(self, normalisation: Normalisation, device: torch.device, *, white: float = 1.0) -> None:
        mean = torch.tensor(normalisation.mean, device=device)
        std = torch.tensor(normalisation.std, device=device)
        self._scale = white / (255 * std)
        self._shift = -mean / std

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise images (N, 3, H, W) of 0..255 to float32, channels last in memory."""
        pixels = images.float().permute(0, 2, 3, 1).contiguous()
        # Whole rows at once: over an axis of three channels a CPU would not use its vectors.
        width = pixels.shape[2]
        rows = torch.addcmul(self._shift.repeat(width), pixels.flatten(2), self._scale.repeat(width))
        return rows.view(pixels.shape).permute(0, 3, 1, 2)
