"""Whole-slide evaluation: a label map file against a truth file."""

from pathlib import Path

import pyvips

from .errors import InputError
from .metrics import ConfusionMatrix

BAND_PX = 512


def compare_label_maps(labels: Path, truth: Path, *, classes: int) -> ConfusionMatrix:
    """Confusion of two grey label TIFFs of equal size, pixel by pixel at their level 0; read in bands of 512 rows.

    Raises InputError when a file cannot be read, is no 8-bit grey image, or the sizes differ: the truth must lie on the
    same grid.
    """
    predicted, true = _opened(labels), _opened(truth)
    if (predicted.width, predicted.height) != (true.width, true.height):
        raise InputError(
            f"{labels.name} is {predicted.width} x {predicted.height} px, {truth.name} {true.width} x {true.height}; "
            "give the truth at the label map's scale."
        )
    matrix = ConfusionMatrix(classes)
    for y in range(0, true.height, BAND_PX):
        rows = min(BAND_PX, true.height - y)
        try:
            bands = [image.crop(0, y, true.width, rows).numpy() for image in (predicted, true)]
        except pyvips.Error as error:
            raise InputError(
                f"{labels.name} or {truth.name} is damaged ({_in_one_line(error)}). Make it again."
            ) from error
        matrix.feed(*bands)
    return matrix


def _opened(path: Path) -> pyvips.Image:
    try:
        image = pyvips.Image.new_from_file(str(path), access="sequential", fail_on="warning")
    except pyvips.Error as error:
        raise InputError(
            f"{path.name} cannot be read ({_in_one_line(error)}). Give an existing label map, a grey TIFF."
        ) from error
    if (image.bands, image.format) != (1, "uchar"):
        raise InputError(
            f"{path.name} has {image.bands} channels of {image.format}; a label map has one of uchar whose value is the "
            "class. Give labels.tif, not overlay.tif or the slide."
        )
    return image


def _in_one_line(error: pyvips.Error) -> str:
    return " ".join(str(error).split())
