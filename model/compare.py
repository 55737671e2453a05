"""Whole-slide evaluation: a label map file against a truth file."""

from pathlib import Path

import pyvips

from .errors import InputError
from .metrics import ConfusionMatrix

BAND_PX = 512


def compare_label_maps(labels: Path, truth: Path, *, classes: int) -> ConfusionMatrix:
    """Confusion of two grey label TIFFs of equal size, pixel by pixel at their level 0; read in bands of 512
    rows.

    Raises InputError when the sizes differ: the truth must lie on the same grid.
    """
    predicted, true = (pyvips.Image.new_from_file(str(path), access="sequential") for path in (labels, truth))
    if (predicted.width, predicted.height) != (true.width, true.height):
        raise InputError(
            f"{labels.name} is {predicted.width} x {predicted.height} px, {truth.name} {true.width} x {true.height}; "
            "give the truth at the label map's scale."
        )
    matrix = ConfusionMatrix(classes)
    for y in range(0, true.height, BAND_PX):
        rows = min(BAND_PX, true.height - y)
        bands = (image.crop(0, y, true.width, rows).numpy() for image in (predicted, true))
        matrix.feed(*bands)
    return matrix
