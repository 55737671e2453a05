"""One job from slide to overlay: plan, read ahead, segment patch by patch, write the pyramids, sum up.

Runs in the model process. Everything a finished patch leaves behind is on disk (the label store), so a run that is
killed at any point goes on at its first unfinished patch when the same job is run again.
"""

import contextlib
import shutil
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from model.card import ModelCard
from model.segmenter import PatchSizes, Segmenter, Stage
from model.transfer import PendingLabels
from wsi.grid import Grid
from wsi.label_store import LabelStore
from wsi.palette import LabelClass, Palette
from wsi.plan import Patch, Plan, make_plan
from wsi.pyramid import PyramidSummary, write_label_pyramids
from wsi.slide import Slide, open_slide
from wsi.tissue import TissueMask

from .errors import JobCancelledError, NotEnoughDiskError
from .job_tissue import job_grid, job_tissue
from .jobs import JobFiles, Progress
from .messages import RunJob
from .prefetch import BoundedWriter, read_ahead
from .result import job_result, provenance, write_json
from .resume import adopt, run_identity

READ_THREADS = 2
READ_DEPTH = 2
"""Patches decoded ahead of the network: 22 MB each (2688 x 2688 RGB), up to three times that off the model's scale."""

PLAN_SHARE = 0.03
PYRAMID_SHARE = 0.07
"""Parts of the progress bar before and after the patches; they only pace the bar."""


@dataclass(slots=True)
class Stopwatch:
    """Wall seconds by stage; stages that overlap in threads are each counted in full."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start


def run_pipeline(
    run: RunJob,
    segmenter: Segmenter,
    report: Callable[[Progress], None],
    cancelled: Callable[[], bool],
    *,
    watch: Stopwatch | None = None,
) -> None:
    """Label the slide of `run` and leave `overlay.tif`, `labels.tif` and `result.json` in its directory.

    Goes on from what an earlier attempt at the same run left there. `watch` sees every stage begin and end.

    Raises:
        WsiError: the slide cannot be read, its mpp is unknown or too coarse for the model.
        NotEnoughDiskError: what the job may need does not fit on the disk.
        JobCancelledError: `cancelled()` became true.
    """
    watch = watch or Stopwatch()
    files = JobFiles(Path(run.directory))
    files.directory.mkdir(parents=True, exist_ok=True)
    report(Progress(stage="plan"))
    with open_slide(Path(run.slide_path), mpp=run.parameters.mpp) as slide:
        identity = run_identity(run, slide.info, segmenter)
        if adopt(files, identity):
            return
        with watch.stage("plan"):
            plan, tissue = plan_job(run, files, slide, segmenter.card, Follower("plan", 0, report, cancelled))
            write_json(files.plan, {"run": identity, **plan.to_json()})
        store = LabelStore(files.patches, plan.grid)
        patches = PatchRun(slide, plan, tissue, store, segmenter, watch)
        with watch.stage("segment"):
            labelled_tiles = segment_patches(patches, report, cancelled)
        with watch.stage("pyramid"):
            follower = Follower("pyramid", len(plan.patches), report, cancelled)
            summary = write_pyramids(
                run, slide, segmenter.card, plan.grid, store, files, follower, watch.stage
            )
        result = job_result(run, slide.info, segmenter, plan, summary, watch.seconds, labelled_tiles, files)
        write_json(files.result, result)
    shutil.rmtree(files.patches, ignore_errors=True)


class Follower:
    """Reports a stage at each new per cent, and stops it when the job is cancelled."""

    def __init__(
        self,
        stage: Literal["plan", "pyramid"],
        patches: int,
        report: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> None:
        """`patches` are those of the job, all finished when the pyramids are written."""
        self._stage = stage
        self._patches = patches
        self._report = report
        self._cancelled = cancelled
        self._told = -1

    def __call__(self, share: float) -> None:
        """Hear that `share` (0..1) of the stage is done. Raises JobCancelledError."""
        if self._cancelled():
            raise JobCancelledError
        percent = int(share * 100)
        if percent == self._told:
            return
        self._told = percent
        self._report(
            Progress(
                fraction=PLAN_SHARE * share if self._stage == "plan" else 1 - PYRAMID_SHARE * (1 - share),
                stage=self._stage,
                patches_done=self._patches,
                patches_total=self._patches,
            )
        )


def plan_job(
    run: RunJob, files: JobFiles, slide: Slide, card: ModelCard, progress: Callable[[float], None]
) -> tuple[Plan, TissueMask]:
    """What there is to do. The tissue mask is kept beside the job: a resumed run, or a prepared one, need not look again.

    Raises MppUnknownError, MppOutOfRangeError, NotEnoughDiskError.
    """
    grid = job_grid(run, slide, card.input)
    require_disk(files.directory, grid)
    if run.parameters.tissue:
        tissue = job_tissue(run, slide, grid, progress)
    else:
        tissue = TissueMask.everywhere(grid, slide.info.bounds)
    return make_plan(grid, tissue), tissue


def require_disk(directory: Path, grid: Grid) -> None:
    """Raise NotEnoughDiskError unless a pessimistic byte a label pixel fits, for patches, spool and both files together."""
    worst = grid.label_size.width * grid.label_size.height
    free = shutil.disk_usage(directory).free
    if worst > free:
        raise NotEnoughDiskError(needed=worst, free=free, directory=directory)


@dataclass(frozen=True, slots=True)
class PatchRun:
    """What labelling the patches of one job needs."""

    slide: Slide
    plan: Plan
    tissue: TissueMask
    store: LabelStore
    segmenter: Segmenter
    watch: Stopwatch

    def read(self, patch: Patch) -> NDArray[np.uint8]:
        """Pixels of the patch region: (region_px, region_px, 3) uint8 RGB at label pixels. Called in threads."""
        grid = self.plan.grid
        with self.watch.stage("read"):
            return self.slide.read_region(grid.patch_region_l0(patch.index), grid.downsample)

    def submit(self, patch: Patch, pixels: NDArray[np.uint8]) -> PendingLabels:
        """Begin to label the patch; a CPU has done so on return."""
        windows, sizes = self.plan.windows(patch), sizes_of(self.plan.grid)
        with self.watch.stage("network"):
            return self.segmenter.submit(pixels, windows, sizes, stage=self.watch.stage)

    def collect(self, patch: Patch, pending: PendingLabels) -> NDArray[np.uint8]:
        """Label map of the patch core: (patch_px, patch_px) uint8; 0 on glass and outside the slide."""
        grid = self.plan.grid
        with self.watch.stage("network"):
            tiles = self.segmenter.collect(pending, stage=self.watch.stage)
        side = grid.window_px - 2 * grid.halo_px
        labels = np.zeros((grid.patch_px, grid.patch_px), np.uint8)
        for (column, row), tile in zip(patch.tiles, tiles, strict=True):
            labels[row * side : (row + 1) * side, column * side : (column + 1) * side] = tile
        # As bytes the mask is 0 or 255: a twentieth of the time of assigning by booleans.
        labels &= -self.tissue.crop(grid.patch_core(patch.index), grid).view(np.uint8)
        return labels

    def label(self, patch: Patch, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """`submit` and `collect` in one."""
        return self.collect(patch, self.submit(patch, pixels))

    def write(self, patch: Patch, labels: NDArray[np.uint8]) -> None:
        """Leave the finished patch in the label store. Called in the writing thread."""
        with self.watch.stage("store"):
            self.store.write(patch.index, labels)


def sizes_of(grid: Grid) -> PatchSizes:
    """What the segmenter needs to know of a grid."""
    return PatchSizes(
        window_px=grid.window_px,
        halo_px=grid.halo_px,
        slice_network_px=grid.slice_network_px,
        context_network_px=grid.context_network_px,
        context_inset_px=grid.context_inset_px,
    )


@dataclass(slots=True)
class Pace:
    """Turns finished patches into progress: fraction, speed in level-0 megapixels a second, time left."""

    plan: Plan
    done: int
    tiles_todo: int
    tiles_done: int = 0
    started: float = field(default_factory=time.perf_counter)

    def finish(self, patch: Patch) -> Progress:
        """Count one more finished patch."""
        self.done += 1
        self.tiles_done += len(patch.tiles)
        return self.progress()

    def progress(self) -> Progress:
        """Progress so far; speed and ETA are of this run alone, not of an earlier attempt."""
        total = len(self.plan.patches)
        seconds = time.perf_counter() - self.started
        share = self.done / total if total else 1.0
        speed = eta = None
        if self.tiles_done:
            speed = self.tiles_done * self.plan.grid.tile_megapixels_l0 / seconds
            eta = seconds * (self.tiles_todo - self.tiles_done) / self.tiles_done
        return Progress(
            fraction=PLAN_SHARE + (1 - PLAN_SHARE - PYRAMID_SHARE) * share,
            stage="segment",
            patches_done=self.done,
            patches_total=total,
            megapixels_per_second=speed,
            eta_s=eta,
        )


def segment_patches(run: PatchRun, report: Callable[[Progress], None], cancelled: Callable[[], bool]) -> int:
    """Label every patch that the store does not hold yet; the number of tiles labelled.

    Reading and writing overlap the network, and a GPU is given a patch before the one before is collected. Memory:
    READ_DEPTH + 1 patch regions and two finished patches, on a GPU one more of each, independent of the slide. Raises
    JobCancelledError.
    """
    finished = run.store.finished()
    todo = [patch for patch in run.plan.patches if patch.index not in finished]
    pace = Pace(run.plan, len(run.plan.patches) - len(todo), sum(len(patch.tiles) for patch in todo))
    report(pace.progress())
    regions = read_ahead(run.read, todo, threads=READ_THREADS, depth=READ_DEPTH)
    with contextlib.closing(regions), BoundedWriter(depth=2) as writer:
        for patch, pending in submit_ahead(run, regions, cancelled):
            labels = run.collect(patch, pending)

            def write(patch: Patch = patch, labels: NDArray[np.uint8] = labels) -> None:
                run.write(patch, labels)
                report(pace.finish(patch))

            writer.submit(write)
    return pace.tiles_done


def submit_ahead(
    run: PatchRun, regions: Iterable[tuple[Patch, NDArray[np.uint8]]], cancelled: Callable[[], bool]
) -> Iterator[tuple[Patch, PendingLabels]]:
    """Each patch, submitted: at once if its labels are there, as on a CPU, else once the next one is read and submitted too.

    Raises JobCancelledError.
    """
    waiting: deque[tuple[Patch, PendingLabels]] = deque()
    for patch, pixels in regions:
        if cancelled():
            raise JobCancelledError
        waiting.append((patch, run.submit(patch, pixels)))
        while waiting and (len(waiting) > 1 or waiting[0][1].done):
            yield waiting.popleft()
    yield from waiting


def write_pyramids(
    run: RunJob,
    slide: Slide,
    card: ModelCard,
    grid: Grid,
    store: LabelStore,
    files: JobFiles,
    progress: Callable[[float], None],
    stage: Stage,
) -> PyramidSummary:
    """Write and verify `labels.tif` and `overlay.tif` from the label store."""
    palette = Palette(tuple(LabelClass(c.value, c.name, c.colour) for c in card.classes))
    description: Mapping[str, Any] = provenance(run, slide.info, card, grid)
    return write_label_pyramids(
        store,
        grid,
        palette,
        description,
        labels=files.labels,
        overlay=files.overlay,
        threads=torch.get_num_threads(),  # those of the network, which is done by then
        progress=progress,
        stage=stage,
    )
