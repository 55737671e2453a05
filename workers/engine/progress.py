"""Report the progress of a job: fraction, speed and time left."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from wsi.plan import Patch, Plan

from ..errors import JobCancelledError
from ..jobs import Progress

PLAN_SHARE = 0.03
PYRAMID_SHARE = 0.07
"""Parts of the progress bar before and after the patches; they only share out the bar."""


class ProgressThrottle:
    """Callback that reports a stage at each new per cent, and stops it when the job is cancelled."""

    def __init__(
        self,
        stage: Literal["plan", "pyramid", "outputs"],
        patches: int,
        report: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> None:
        """Set what to report and how.

        Args:
            stage: Stage that is reported.
            patches: Number of patches of the job, all finished when the pyramids are written.
            report: Gets the progress.
            cancelled: Says whether to stop.
        """
        self._stage = stage
        self._patches = patches
        self._report = report
        self._cancelled = cancelled
        self._told = -1

    def __call__(self, share: float) -> None:
        """Report that `share` (0..1) of the stage is done.

        Raises:
            JobCancelledError: The job is cancelled.
        """
        if self._cancelled():
            raise JobCancelledError
        percent = int(share * 100)
        if percent == self._told:
            return
        self._told = percent
        self._report(
            Progress(
                fraction=self._fraction(share),
                stage=self._stage,
                patches_done=self._patches,
                patches_total=self._patches,
            )
        )

    def _fraction(self, share: float) -> float:
        """Return the fraction of the job that is done with a share of the stage.

        Outputs asked for come on top: nobody knows how long they will take.
        """
        if self._stage == "plan":
            return PLAN_SHARE * share
        return 1.0 if self._stage == "outputs" else 1 - PYRAMID_SHARE * (1 - share)


@dataclass(slots=True)
class ProgressMeter:
    """Counter of finished patches: fraction, speed in level-0 megapixels a second, time left."""

    plan: Plan
    done: int
    slices_todo: int
    slices_done: int = 0
    started: float = field(default_factory=time.perf_counter)

    def finish(self, patch: Patch) -> Progress:
        """Count one more finished patch and return the progress."""
        self.done += 1
        self.slices_done += len(patch.slices)
        return self.progress()

    def progress(self) -> Progress:
        """Return the progress so far.

        Speed and ETA are of this run alone, not of an earlier attempt.
        """
        total = len(self.plan.patches)
        seconds = time.perf_counter() - self.started
        share = self.done / total if total else 1.0
        speed = eta = None
        if self.slices_done:
            speed = self.slices_done * self.plan.grid.slice_megapixels_l0 / seconds
            eta = seconds * (self.slices_todo - self.slices_done) / self.slices_done
        return Progress(
            fraction=PLAN_SHARE + (1 - PLAN_SHARE - PYRAMID_SHARE) * share,
            stage="segment",
            patches_done=self.done,
            patches_total=total,
            megapixels_per_second=speed,
            eta_s=eta,
        )
