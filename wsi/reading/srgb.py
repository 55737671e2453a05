"""Convert a slide's pixels to sRGB by the ICC profile in its file, for people to look at."""

import io
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

logger = logging.getLogger(__name__)


class SrgbTransform:
    """Transform of the colours of one slide to sRGB; without a usable profile pixels stay as they are."""

    def __init__(self, icc_profile: bytes | None) -> None:
        self._transform = None if icc_profile is None else _to_srgb(icc_profile)

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the pixels (H, W, 3) in sRGB."""
        if self._transform is None:
            return pixels
        converted = ImageCms.applyTransform(Image.fromarray(pixels), self._transform)
        return pixels if converted is None else np.asarray(converted)


def _to_srgb(icc_profile: bytes) -> Any:
    """Return the transform of a profile's RGB to sRGB; None for one that is damaged or of other colours."""
    try:
        return ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(icc_profile)), ImageCms.createProfile("sRGB"), "RGB", "RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        logger.warning("a slide's colour profile is left out: %s", error)
        return None
