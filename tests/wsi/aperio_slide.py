"""An Aperio slide with a label and a macro image, as scanners write it: what must never be served."""

from pathlib import Path

import numpy as np
import pyvips
import tifffile
from numpy.typing import NDArray

LOUD = (0, 255, 0)
"""Colour of label and macro image; no pixel of the tissue is near it."""

SECRET = "17-4711 Smith"
"""What the pages of label and macro image say of the patient."""

SUBFILE_TYPES = {"label": 1, "macro": 9}
"""NewSubfileType of pages in strips, by which OpenSlide tells what they are."""

SOFTWARE = "Aperio Image Library v11.2"


def write_aperio_slide(path: Path, compression: str = "jpeg", *, side_px: int = 1536) -> Path:
    """Write a tiled pyramid in the colours of tissue, and label and macro pages in LOUD.

    Of `jpeg` tiles our own reader decodes it, of `deflate` OpenSlide does.
    """
    spots = np.random.default_rng(3).integers(-25, 25, (side_px // 8, side_px // 8, 1)).repeat(8, 0)
    tissue = np.clip(np.array((190, 120, 170)) + spots.repeat(8, 1), 0, 255).astype(np.uint8)
    image = pyvips.Image.new_from_array(tissue, interpretation="srgb")
    said = f"{SOFTWARE}\r\n{side_px}x{side_px}|AppMag = 20|MPP = 0.5"
    image.set_type(pyvips.GValue.gstr_type, "image-description", said)
    how = {"tile": True, "tile_width": 256, "tile_height": 256, "pyramid": True}
    image.tiffsave(str(path), **how, compression=compression)
    loud = np.full((64, 64, 3), LOUD, np.uint8)
    for name, kind in SUBFILE_TYPES.items():
        said = f"{SOFTWARE}\n{name} 64x64 {SECRET}"
        tifffile.imwrite(
            path, loud, append=True, photometric="rgb", subfiletype=kind, description=said, metadata=None
        )
    return path


def is_loud(pixels: NDArray[np.uint8]) -> bool:
    """Whether the colour of label and macro image appears, faint from JPEG or averaging too."""
    red, green, blue = (pixels[..., channel].astype(int) for channel in range(3))
    return bool((green > np.maximum(red, blue) + 30).any())
