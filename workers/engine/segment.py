"""The patches of one job: read ahead, label, store."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.inference.segmenter import Segmenter
from model.inference.transfer import PendingLabels
from wsi.grid import TILE_PX
from wsi.plan import Patch, Plan
from wsi.reading.patch_pixels import PatchPixels, read_patch
from wsi.reading.slide import Slide
from wsi.tissue import TissueMask
from wsi.work_ahead import BoundedWriter, work_ahead
from wsi.writing.label_store import LabelStore

from ..errors import JobCancelledError
from ..jobs import Progress
from .progress import ProgressMeter
from .stopwatch import Stopwatch

READ_THREADS = 2
READ_DEPTH = 2
"""Patches decoded ahead of the network: 22 MB each (2688 x 2688 RGB), up to three times that off the model's
scale, and at most some 3 MB more where contexts are centred."""


@dataclass(frozen=True, slots=True)
class PatchRun:
    """What labelling the patches of one job needs."""

    slide: Slide
    plan: Plan
    tissue: TissueMask
    store: LabelStore
    segmenter: Segmenter
    watch: Stopwatch

    def read(self, patch: Patch) -> PatchPixels:
        """Read the pixels of the patch. Called in threads."""
        with self.watch.stage("read"):
            return read_patch(self.slide, self.plan.view(patch), self.plan.grid.downsample)

    def submit(self, patch: Patch, pixels: PatchPixels) -> PendingLabels:
        """Begin to label the patch; a CPU has done so on return."""
        view = self.plan.view(patch)
        with self.watch.stage("network"):
            return self.segmenter.submit(pixels.region, view, context=pixels.context, stage=self.watch.stage)

    def collect(self, patch: Patch, pending: PendingLabels) -> NDArray[np.uint8]:
        """Label map of the patch core: (patch_px, patch_px) uint8; 0 on glass and outside the slide."""
        grid = self.plan.grid
        with self.watch.stage("network"):
            slices = self.segmenter.collect(pending, stage=self.watch.stage)
        labels = np.zeros((grid.patch_px, grid.patch_px), np.uint8)
        for (column, row), own in zip(patch.slices, slices, strict=True):
            x, y = column * TILE_PX, row * TILE_PX
            labels[y : y + TILE_PX, x : x + TILE_PX] = own
        # As bytes the mask is 0 or 255: a twentieth of the time of assigning by booleans.
        labels &= -self.tissue.crop(grid.patch_core(patch.index), grid).view(np.uint8)
        return labels

    def label(self, patch: Patch, pixels: PatchPixels) -> NDArray[np.uint8]:
        """`submit` and `collect` in one."""
        return self.collect(patch, self.submit(patch, pixels))

    def write(self, patch: Patch, labels: NDArray[np.uint8]) -> None:
        """Leave the finished patch in the label store. Called in the writing thread."""
        with self.watch.stage("store"):
            self.store.write(patch.index, labels)


def segment_patches(run: PatchRun, report: Callable[[Progress], None], cancelled: Callable[[], bool]) -> int:
    """Label every patch that the store does not hold yet; return the number of slices labelled.

    Reading and writing overlap the network, and a GPU is given a patch before the one before is collected.
    Memory: READ_DEPTH + 1 patch regions and two finished patches, on a GPU one more of each, independent of
    the slide.

    Raises:
        JobCancelledError: `cancelled()` became true.
    """
    finished = run.store.finished()
    todo = [patch for patch in run.plan.patches if patch.index not in finished]
    meter = ProgressMeter(
        run.plan, len(run.plan.patches) - len(todo), sum(len(patch.slices) for patch in todo)
    )
    report(meter.progress())
    regions = work_ahead(run.read, todo, threads=READ_THREADS, depth=READ_DEPTH)
    with contextlib.closing(regions), BoundedWriter(depth=2) as writer:
        for patch, pending in submit_ahead(run, regions, cancelled):
            labels = run.collect(patch, pending)

            def write(patch: Patch = patch, labels: NDArray[np.uint8] = labels) -> None:
                run.write(patch, labels)
                report(meter.finish(patch))

            writer.submit(write)
    return meter.slices_done


def submit_ahead(
    run: PatchRun, regions: Iterable[tuple[Patch, PatchPixels]], cancelled: Callable[[], bool]
) -> Iterator[tuple[Patch, PendingLabels]]:
    """Submit each patch, and yield it once its labels can be collected without idling the device.

    That is at once on a CPU, else when the next patch is read and submitted too.

    Raises:
        JobCancelledError: `cancelled()` became true.
    """
    waiting: deque[tuple[Patch, PendingLabels]] = deque()
    for patch, pixels in regions:
        if cancelled():
            raise JobCancelledError
        waiting.append((patch, run.submit(patch, pixels)))
        while waiting and (len(waiting) > 1 or waiting[0][1].done):
            yield waiting.popleft()
    yield from waiting
