"""The patches of one job: read ahead, label, store."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from model.inference.segmenter import Segmenter
from model.inference.transfer import PendingLabels
from wsi.plan import Patch, Plan
from wsi.reading.patch_pixels import PatchPixels, read_patch
from wsi.reading.slide import Slide
from wsi.tissue import TissueMask
from wsi.work_ahead import BoundedWriter, work_ahead
from wsi.writing.label_store import LabelStore
from wsi.writing.pyramid import LabelPyramids

from ..errors import JobCancelledError
from ..jobs import Progress
from .progress import ProgressMeter
from .stopwatch import Stopwatch


@dataclass(frozen=True, slots=True)
class IoThreads:
    """Threads that read patches ahead of the network, and store finished ones behind it."""

    read: int = 2
    """As many patches are decoded ahead too: 22 MB each (2688 x 2688 RGB), up to three times that off the
    model's scale, and at most some 3 MB more where contexts are centred."""
    write: int = 1


CPU_IO_THREADS = IoThreads()
"""Threads beside a network that needs the processor itself."""


@dataclass(frozen=True, slots=True)
class PatchRun:
    """What labelling the patches of one job needs."""

    slide: Slide
    plan: Plan
    tissue: TissueMask
    store: LabelStore
    segmenter: Segmenter
    watch: Stopwatch
    probabilities: LabelStore | None = None
    """Where the labels' probabilities are kept, if they are."""
    pyramids: LabelPyramids | None = None
    """What is built of the labels behind the network; None: nothing, all is left for later."""
    threads: IoThreads = CPU_IO_THREADS

    def read(self, patch: Patch) -> PatchPixels:
        """Read the pixels of the patch. Called in threads."""
        with self.watch.stage("read"):
            return read_patch(self.slide, self.plan.view(patch), self.plan.grid.downsample)

    def submit(self, patch: Patch, pixels: PatchPixels) -> PendingLabels:
        """Begin to label the patch; a CPU has done so on return."""
        view = self.plan.view(patch)
        with self.watch.stage("network"):
            return self.segmenter.submit(
                pixels.region,
                view,
                context=pixels.context,
                stage=self.watch.stage,
                probabilities=self.probabilities is not None,
            )

    def collect(self, patch: Patch, pending: PendingLabels) -> NDArray[np.uint8]:
        """Label map of the patch core: (patch_px, patch_px) uint8; 0 on glass and outside the slide."""
        with self.watch.stage("network"):
            slices = self.segmenter.collect(pending, stage=self.watch.stage)
        return self._core(patch, slices)

    def collect_probabilities(self, patch: Patch, pending: PendingLabels) -> NDArray[np.uint8] | None:
        """Probabilities of the labels that `collect` returned, of their shape; None where none are kept."""
        if pending.probabilities is None:
            return None
        return self._core(patch, pending.probabilities.wait())

    def _core(self, patch: Patch, slices: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Put the slices of a patch into its core, 0 where there is no tissue."""
        grid = self.plan.grid
        core, place = np.zeros((grid.patch_px, grid.patch_px), np.uint8), grid.patch_core(patch.index)
        for slice_, own in zip(self.plan.view(patch).slices, slices, strict=True):
            at = slice_.moved(-place.x, -place.y)
            core[at.y : at.bottom, at.x : at.right] = own
        # As bytes the mask is 0 or 255: a twentieth of the time of assigning by booleans.
        core &= -self.tissue.crop(place, grid).view(np.uint8)
        return core

    def label(self, patch: Patch, pixels: PatchPixels) -> NDArray[np.uint8]:
        """`submit` and `collect` in one."""
        return self.collect(patch, self.submit(patch, pixels))

    def write(
        self, patch: Patch, labels: NDArray[np.uint8], probabilities: NDArray[np.uint8] | None = None
    ) -> None:
        """Leave the finished patch in the label store. Called in writing threads."""
        with self.watch.stage("store"):
            # First, so that whoever sees labels finds their probabilities.
            if self.probabilities is not None and probabilities is not None:
                self.probabilities.write(patch.index, probabilities)
            self.store.write(patch.index, labels)

    def finished(self) -> frozenset[int]:
        """Return the indices of the patches of which all is stored."""
        labelled = self.store.finished()
        return labelled if self.probabilities is None else labelled & self.probabilities.finished()


def segment_patches(run: PatchRun, report: Callable[[Progress], None], cancelled: Callable[[], bool]) -> int:
    """Label every patch that the store does not hold yet; return the number of slices labelled.

    Reading, writing and the pyramids overlap the network, and a GPU is given a patch before the one before is
    collected. Memory: one patch region more than threads read, and one finished patch more than threads
    write, on a GPU one more of each, independent of the slide; where probabilities are kept, twice the
    finished patches.

    Raises:
        JobCancelledError: `cancelled()` became true.
    """
    finished = run.finished()
    todo = [patch for patch in run.plan.patches if patch.index not in finished]
    meter = ProgressMeter(
        run.plan, len(run.plan.patches) - len(todo), sum(len(patch.slices) for patch in todo)
    )
    report(meter.progress())
    counting = threading.Lock()
    ahead = None if run.pyramids is None else run.pyramids.ahead(patch.index for patch in todo)

    def finish(patch: Patch, labels: NDArray[np.uint8], probabilities: NDArray[np.uint8] | None) -> None:
        run.write(patch, labels, probabilities)
        with counting:
            report(meter.finish(patch))
        if ahead is not None:
            with run.watch.stage("pyramid"):
                ahead.stored(patch.index)

    regions = work_ahead(run.read, todo, threads=run.threads.read, depth=run.threads.read)
    writing = BoundedWriter(depth=run.threads.write + 1, threads=run.threads.write)
    with contextlib.closing(regions), writing as writer:
        for patch, pending in submit_ahead(run, regions, cancelled):
            labels, probabilities = run.collect(patch, pending), run.collect_probabilities(patch, pending)
            writer.submit(partial(finish, patch, labels, probabilities))
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
