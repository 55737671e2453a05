"""Make the results that a job asked for by name, from the finished pyramids and the tissue mask."""

from collections.abc import Callable
from pathlib import Path

from wsi.writing.geojson import write_regions
from wsi.writing.region_options import MIN_AREA_UM2, TOLERANCE_UM, RegionOptions
from wsi.writing.tissue_outline import write_tissue

from ..jobs import JobFiles
from .result import Finished


def write_outputs(
    names: tuple[str, ...], finished: Finished, files: JobFiles, progress: Callable[[float], None]
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
        write_regions(files.labels, path, RegionOptions(finished.segmenter.card.palette), progress)
        written.append(path)
    if "tissue.geojson" in names:
        write_tissue(finished.tissue, finished.plan.grid, files.tissue_outlines)
        written.append(files.tissue_outlines)
    return tuple(written)
