"""Turn a picture of a tissue mask into polygons on its slide."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image

from wsi.geometry import Rect, Size
from wsi.writing.regions import trace_regions

SHAPE_TOLERANCE = 0.02
"""By how much the shape of a picture may differ from the slide's: masks are rounded to whole pixels."""

TOLERANCE_PX = 1.0
"""How far outlines may be from those of the picture's pixels."""


class MaskPictureError(Exception):
    """A picture is no tissue mask of a slide."""


@dataclass(frozen=True, slots=True)
class _Mask:
    """A mask as a label map of one class, to trace."""

    pixels: NDArray[np.uint8]

    @property
    def size(self) -> Size:
        """Pixels of the picture."""
        return Size(self.pixels.shape[1], self.pixels.shape[0])

    def read(self, rect: Rect) -> NDArray[np.uint8]:
        """Return a rectangle: 1 where there is tissue."""
        return self.pixels[rect.y : rect.bottom, rect.x : rect.right]


def trace_mask_picture(path: Path, slide: Size) -> dict[str, Any]:
    """Trace what is not black in a picture that shows the whole slide: GeoJSON, level-0 px.

    Args:
        path: a picture that Pillow reads, such as PNG or TIFF, of any size; transparent is black.
        slide: level-0 px.

    Raises:
        MaskPictureError: it cannot be read, has another shape than the slide, or is all black.
    """
    mask = _Mask(_pixels(path))
    width, height = mask.size.width, mask.size.height
    if not abs(width * slide.height / (height * slide.width) - 1) <= SHAPE_TOLERANCE:
        raise MaskPictureError(
            f"The picture of {width} x {height} px has another shape than the slide of {slide.width} x "
            f"{slide.height} px. Send a mask of the whole slide."
        )
    traced = [region.outline for region in trace_regions(mask, tolerance_px=TOLERANCE_PX, min_area_px=0.0)]
    if not traced:
        raise MaskPictureError("The picture is all black: there is no tissue in it.")
    scale = np.array([slide.width / width, slide.height / height])
    polygons = shapely.multipolygons(shapely.transform(np.array(traced, np.object_), lambda xy: xy * scale))
    geometry: dict[str, Any] = json.loads(shapely.to_geojson(shapely.set_precision(polygons, 0.01)))
    return geometry


def _pixels(path: Path) -> NDArray[np.uint8]:
    """Return 1 where the picture is not black, else 0: (H, W)."""
    try:
        with Image.open(path) as picture:
            if picture.mode in {"RGBA", "LA", "PA"} or "transparency" in picture.info:
                shown = Image.new("RGBA", picture.size, "black")
                shown.alpha_composite(picture.convert("RGBA"))
                values = np.asarray(shown.convert("RGB"))
            else:
                values = np.asarray(picture if picture.mode != "P" else picture.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise MaskPictureError(f"It is no picture that can be read: {error}") from error
    # Also of 1 bit, 16 bits or floats: any value but 0.
    filled = values.any(axis=2) if values.ndim == 3 else values != 0
    return np.ascontiguousarray(filled).view(np.uint8)
