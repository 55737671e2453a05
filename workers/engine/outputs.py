"""Make the results that a job asked for by name, from the finished pyramids."""

from collections.abc import Callable
from pathlib import Path

from model.card import ModelCard
from wsi.writing.geojson import write_regions
from wsi.writing.region_options import MIN_AREA_UM2, TOLERANCE_UM, RegionOptions

from ..jobs import JobFiles


def write_outputs(
    names: tuple[str, ...], card: ModelCard, files: JobFiles, progress: Callable[[float], None]
) -> tuple[Path, ...]:
    """Write the outputs `names` beside the pyramids and return their paths.

    `progress` is called with fractions up to 1; what it raises ends the work.

    Raises:
        LabelTiffError: the label pyramid cannot be read back.
        OSError: the disk is full.
    """
    written: list[Path] = []
    if "regions.geojson" in names:
        path = files.regions(TOLERANCE_UM, MIN_AREA_UM2)
        write_regions(files.labels, path, RegionOptions(card.palette), progress)
        written.append(path)
    return tuple(written)
