"""Make the tissue mask of a job, in the job itself or ahead of it while another one computes.

`python -m workers.engine.tissue RUN INPUT` is the process that works ahead (see
`workers.rq_worker.prefetch`); it may die of a slide. Imports no torch.
"""

import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from model.card import parse_geometry
from wsi.confinement import confine, folders_of
from wsi.errors import MppUnknownError, PlanFormatError, WsiError
from wsi.grid import Grid, InputGeometry, make_grid
from wsi.read_regions import check_on_slide
from wsi.reading.inspect import limit_memory
from wsi.reading.near import bring_near
from wsi.reading.slide import Slide, open_slide
from wsi.region_mask import RegionMask
from wsi.regions_of_interest import RegionsOfInterest
from wsi.rules import TISSUE_RULES
from wsi.tissue import TissueMask, find_tissue

from ..jobs import JobFiles
from ..protocol import RunJob
from .provenance import slide_identity, software


def job_grid(run: RunJob, slide: Slide, geometry: InputGeometry) -> Grid:
    """Return the label grid of a job, from the slide's mpp and the input that the model's card states.

    Raises:
        MppUnknownError: The slide's mpp is not known.
        MppOutOfRangeError: The slide is too coarse for the model.
        HaloError: The halo asked for is not a multiple of 16 label px within one tile.
        SlideLimitError: The slide has less than one label px a side.
    """
    mpp = slide.info.mpp
    if mpp is None:
        raise MppUnknownError(run.slide_name)
    return make_grid(
        slide.info.size, mpp.value, geometry, halo_px=run.parameters.halo_px, window=run.parameters.window
    )


def job_tissue(
    run: RunJob, slide: Slide, grid: Grid, progress: Callable[[float], None] | None = None
) -> TissueMask:
    """Load the tissue mask from the job's directory, or find tissue and keep the mask there.

    A mask that was made of another slide, grid or software is not used. `progress` gets fractions up to 1
    while tissue is looked for, as in `find_tissue`.

    Raises:
        SlideUnreadableError: The slide cannot be read.
        OSError: The mask cannot be kept: the directory is gone, the disk full.
    """
    path = JobFiles(Path(run.directory)).tissue
    origin = {
        "slide": slide_identity(Path(run.slide_path), slide.info, run.slide_sha256),
        "grid": asdict(grid),
        "rules": TISSUE_RULES,
        "software": software(),
    }
    stated = json.dumps(origin, sort_keys=True)
    with contextlib.suppress(PlanFormatError):
        return TissueMask.load(path, origin=stated)
    tissue = find_tissue(slide, grid, progress=progress)
    tissue.save(path, origin=stated)
    return tissue


def job_limits(run: RunJob, slide: Slide, grid: Grid) -> tuple[RegionMask, ...]:
    """Return the polygons that limit a job, on its label map: its regions of interest, a tissue mask it has.

    Raises:
        RegionsInvalidError: One of them lies outside of the slide.
    """
    limits: list[RegionMask] = []
    sent = {"Region": run.parameters.regions, "Tissue polygon": run.parameters.tissue_outlines}
    for what, text in sent.items():
        if text is not None:
            regions = RegionsOfInterest.from_json(text)
            check_on_slide(regions, slide.info.size, grid.slide_mpp, what=what)
            limits.append(RegionMask.of(regions, grid))
    return tuple(limits)


def main(arguments: list[str]) -> int:
    """Make the mask of a waiting job, and bring its slide near.

    `arguments` are the JSON of its RunJob and of its model card's `input`.
    """
    limit_memory()
    with contextlib.suppress(OSError):
        # Should memory run out all the same, this process goes, not a job that runs. Linux only.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    run, geometry = RunJob.from_json(arguments[0]), parse_geometry(json.loads(arguments[1]))
    confine(readable=folders_of(Path(run.slide_path)), writable=[Path(run.directory)])
    # The job will meet the same error and say so; if its directory is gone, nobody wants it any more.
    with (
        contextlib.suppress(WsiError, OSError),
        open_slide(Path(run.slide_path), mpp=run.parameters.mpp) as slide,
    ):
        job_tissue(run, slide, job_grid(run, slide, geometry))
        bring_near(Path(run.slide_path))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
