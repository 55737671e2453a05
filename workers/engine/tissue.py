"""The tissue mask of a job: made by the job itself or, while another one computes, ahead of it.

`python -m workers.engine.tissue RUN INPUT` is the process that works ahead (see `workers.rq_worker.prefetch`); it may die of a slide.
Imports no torch.
"""

import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from model.card import parse_geometry
from wsi.errors import MppUnknownError, PlanFormatError, WsiError
from wsi.grid import Grid, InputGeometry, make_grid
from wsi.reading.inspect import limit_memory
from wsi.reading.slide import Slide, open_slide
from wsi.tissue import TissueMask, find_tissue

from ..jobs import JobFiles
from ..protocol import RunJob
from .provenance import slide_identity, software


def job_grid(run: RunJob, slide: Slide, geometry: InputGeometry) -> Grid:
    """The label grid of a job: the slide's mpp met with what the model's card says of its input.

    Raises MppUnknownError, MppOutOfRangeError, HaloError, SlideLimitError.
    """
    mpp = slide.info.mpp
    if mpp is None:
        raise MppUnknownError(run.slide_name)
    return make_grid(slide.info.size, mpp.value, geometry, halo_px=run.parameters.halo_px)


def job_tissue(
    run: RunJob, slide: Slide, grid: Grid, progress: Callable[[float], None] | None = None
) -> TissueMask:
    """The mask in the job's directory; if there is none made of this slide and grid, it is found and kept there.

    `progress` hears fractions up to 1 while tissue is looked for, as in `find_tissue`.

    Raises SlideUnreadableError, and OSError if the mask cannot be kept: the directory is gone, the disk full.
    """
    path = JobFiles(Path(run.directory)).tissue
    origin = {
        "slide": slide_identity(Path(run.slide_path), slide.info),
        "grid": asdict(grid),
        "software": software(),
    }
    stated = json.dumps(origin, sort_keys=True)
    with contextlib.suppress(PlanFormatError):
        return TissueMask.load(path, origin=stated)
    tissue = find_tissue(slide, grid, progress=progress)
    tissue.save(path, origin=stated)
    return tissue


def main(arguments: list[str]) -> int:
    """Make the mask of the job that waits: arguments are RunJob's JSON and that of its model card's `input`."""
    limit_memory()
    with contextlib.suppress(OSError):
        # Should memory run out all the same, this process goes, not a job that runs. Linux only.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    run, geometry = RunJob.from_json(arguments[0]), parse_geometry(json.loads(arguments[1]))
    # The job will meet the same error and say so; a directory that is gone means that nobody wants it any more.
    with (
        contextlib.suppress(WsiError, OSError),
        open_slide(Path(run.slide_path), mpp=run.parameters.mpp) as slide,
    ):
        job_tissue(run, slide, job_grid(run, slide, geometry))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
