"""Run one job from slide to overlay: plan, read ahead, segment patch by patch, write the pyramids, sum up.

Runs in the engine process. Everything a finished patch leaves behind is on disk (the label store), so a run
that is killed at any point goes on at its first unfinished patch when the same job is run again.
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import torch

from model.card import ModelCard
from model.inference.segmenter import Segmenter
from wsi.grid import Grid
from wsi.plan import Plan, make_plan
from wsi.reading.slide import Slide, open_slide
from wsi.tissue import TissueMask
from wsi.writing.label_store import LabelStore
from wsi.writing.pyramid import LabelPyramids
from wsi.writing.reduction import reduce_mean

from ..errors import NotEnoughDiskError
from ..identity import LabelIdentity
from ..jobs import JobFiles, JobWarning, Progress, keeps_probabilities
from ..protocol import RunJob
from .hooks import Hooks
from .job_warnings import job_warnings, telling
from .outputs import Labelled, Outputs, require_outputs, write_outputs
from .progress import ProgressThrottle
from .result import Finished, job_result, provenance, write_json
from .resume import adopt, clean, run_identity, stored_json
from .segment import CPU_IO_THREADS, IoThreads, PatchRun, segment_patches
from .stopwatch import Stopwatch
from .tissue import job_grid, job_limits, job_tissue

NOBODY = Hooks()
"""Hooks of a run that no worker follows."""


def run_pipeline(
    run: RunJob,
    segmenter: Segmenter,
    report: Callable[[Progress], None],
    cancelled: Callable[[], bool],
    hooks: Hooks = NOBODY,
    *,
    threads: IoThreads = CPU_IO_THREADS,
    watch: Stopwatch | None = None,
) -> None:
    """Label the slide of `run`; leave overlay, label map, `result.json` and outputs in its directory.

    Goes on from what an earlier attempt left there, made the same way. `watch` sees stages begin and end.

    Raises:
        WsiError: The slide cannot be read, its mpp is unknown or too coarse, or an output cannot be made.
        NotEnoughDiskError: What the job may need does not fit on the disk.
        JobCancelledError: `cancelled()` became true.
    """
    watch, card, started = watch or Stopwatch(), segmenter.card, datetime.now(UTC)
    files = JobFiles(Path(run.directory))
    files.directory.mkdir(parents=True, exist_ok=True)
    report(Progress(stage="plan"))
    with open_slide(Path(run.slide_path), mpp=run.parameters.mpp) as slide:
        identity = run_identity(run, slide.info, segmenter)
        hooks.identified(identity)
        if is_done_before(files, identity, report, hooks):
            return
        with watch.stage("plan"):
            plan, tissue = plan_job(run, files, slide, card, ProgressThrottle("plan", 0, report, cancelled))
            write_plan(files, identity, card, plan)
            report = telling(report, warnings := job_warnings(run, slide, card, plan, tissue))
        labels, kept = label_stores(run, files, plan.grid, identity)
        with LabelPyramids(labels, plan.grid, files.directory) as pyramids:
            patches = PatchRun(slide, plan, tissue, labels, segmenter, watch, kept, pyramids, threads)
            with watch.stage("segment"):
                labelled_slices = segment_patches(patches, report, cancelled)
            finished = Finished(run, slide.info, segmenter, plan, warnings, labelled_slices, started)
            write_results(finished, patches, pyramids, files, report, cancelled)
    clean(files, hooks)


def is_done_before(
    files: JobFiles, identity: LabelIdentity, report: Callable[[Progress], None], hooks: Hooks
) -> bool:
    """Return whether an earlier attempt finished the job; then say so, and clean up behind it."""
    if not adopt(files, identity):
        return False
    telling(report, stored_warnings(files))(Progress(fraction=1.0, stage="done"))
    clean(files, hooks)
    return True


def label_stores(
    run: RunJob, files: JobFiles, grid: Grid, identity: LabelIdentity
) -> tuple[LabelStore, LabelStore | None]:
    """Return the stores of the patches made this way: of labels, and of their probabilities if kept.

    Their folders are named by the identity: patches made in another way are neither seen nor touched.
    """
    folders = [files.patches]
    if keeps_probabilities(run.parameters.outputs):
        folders.append(files.probability_patches)
    for folder in folders:
        folder.mkdir(exist_ok=True)
    labels, *kept = [folder / identity.digest for folder in folders]
    return LabelStore(labels, grid), LabelStore(kept[0], grid, reduce_mean) if kept else None


def write_plan(files: JobFiles, identity: LabelIdentity, card: ModelCard, plan: Plan) -> None:
    """Write `plan.json`: what is run, its classes, and the patches; label tiles are served by it."""
    classes = [asdict(label) for label in card.classes]
    run = {"run": identity.members(), "patch_folder": identity.digest}
    write_json(files.plan, {**run, "classes": classes, **plan.to_json()})


def write_results(
    finished: Finished,
    patches: PatchRun,
    pyramids: LabelPyramids,
    files: JobFiles,
    report: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> None:
    """Write pyramids, outputs and `result.json` of a job whose patches are all in the store.

    Raises:
        WsiError: A file cannot be written or did not survive being read back.
        JobCancelledError: `cancelled()` became true.
    """
    plan, card, watch = finished.plan, finished.segmenter.card, patches.watch
    with watch.stage("pyramid"):
        throttle = ProgressThrottle("pyramid", len(plan.patches), report, cancelled)
        description = provenance(finished.run, finished.info, card, plan.grid, finished.warnings)
        summary = pyramids.write(
            card.palette,
            description,
            labels=files.labels,
            overlay=files.overlay,
            threads=torch.get_num_threads(),  # those of the network, which is done by then
            progress=throttle,
            stage=watch.stage,
        )
    outputs = Outputs()
    if names := finished.run.parameters.outputs:
        with watch.stage("outputs"):
            throttle = ProgressThrottle("outputs", len(plan.patches), report, cancelled)
            outputs = write_outputs(
                names, Labelled(finished.run, patches, files, description, summary), throttle
            )
    written = (files.overlay, files.labels, *outputs.files)
    write_json(files.result, {**job_result(finished, summary, watch.seconds, written), **outputs.facts})


def stored_warnings(files: JobFiles) -> tuple[JobWarning, ...]:
    """Return the warnings in a finished job's result."""
    return tuple(JobWarning(**warning) for warning in stored_json(files.result).get("warnings", ()))


def plan_job(
    run: RunJob, files: JobFiles, slide: Slide, card: ModelCard, progress: Callable[[float], None]
) -> tuple[Plan, TissueMask]:
    """Return the plan of a job and its tissue mask, both within its regions of interest.

    The mask of the whole slide is kept beside the job: a resumed run, or a prepared one, need not look for
    tissue again.

    Raises:
        MppUnknownError: The slide's mpp is not known.
        MppOutOfRangeError: The slide is too coarse for the model.
        RegionsInvalidError: A region of interest, or a polygon of the tissue, lies outside of the slide.
        OutputUnavailableError: An output cannot be made of the slide.
        NotEnoughDiskError: What the job may need does not fit on the disk.
    """
    grid = job_grid(run, slide, card.input)
    require_outputs(run, slide.info.vendor, card, grid)
    limits = job_limits(run, slide, grid)
    require_disk(files.directory, grid, maps=1 + keeps_probabilities(run.parameters.outputs))
    if run.parameters.tissue:
        tissue = job_tissue(run, slide, grid, progress)
    else:
        tissue = TissueMask.everywhere(grid, slide.info.bounds)
    for limit in limits:
        tissue = tissue.within(limit, grid)
    return make_plan(grid, tissue), tissue


def require_disk(directory: Path, grid: Grid, maps: int = 1) -> None:
    """Check that the disk has room for a job.

    Asks for one byte a label pixel and map, a pessimistic sum of patches, spool and files. `maps` is 2 where
    probabilities are kept beside the labels.

    Raises:
        NotEnoughDiskError: There is less.
    """
    worst = maps * grid.label_size.pixels
    free = shutil.disk_usage(directory).free
    if worst > free:
        raise NotEnoughDiskError(needed=worst, free=free, directory=directory)
