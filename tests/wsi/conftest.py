"""Slides made on the spot, with pixels that are known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

WriteSlide = Callable[..., Path]


@pytest.fixture(scope="session")
def scene() -> NDArray[np.uint8]:
    """(1100, 1500, 3) RGB: smooth blobs, so that JPEG keeps them nearly as they are."""
    coarse = np.random.default_rng(7).integers(60, 240, (14, 18, 3), dtype=np.uint8)
    blobs = pyvips.Image.new_from_array(coarse).resize(90, kernel="cubic").crop(20, 20, 1500, 1100)
    return np.ascontiguousarray(blobs.numpy())


@pytest.fixture
def write_slide(tmp_path: Path) -> WriteSlide:
    """Write an RGB array as a tiled pyramidal TIFF; keywords go to libvips' tiffsave."""

    def write(
        pixels: NDArray[np.uint8], name: str = "slide.tif", *, mpp: float | None = 0.5, **options: object
    ) -> Path:
        path = tmp_path / name
        image = pyvips.Image.new_from_memory(pixels.tobytes(), pixels.shape[1], pixels.shape[0], 3, "uchar")
        per_mm = 1000 / mpp if mpp else 1.0
        settings = {
            "tile": True,
            "pyramid": True,
            "compression": "jpeg",
            "Q": 92,
            "tile_width": 256,
            "tile_height": 256,
        }
        image.copy(interpretation="srgb").tiffsave(
            str(path), **{**settings, **options}, xres=per_mm, yres=per_mm
        )
        return path

    return write
