"""Run one job from the worker's side: hand it to the engine process, keep its lease, act on what happens.

The worker's thread never waits for long: it listens to the pipe, and between messages renews the lease, looks
for a cancel and for a stop. The engine process computes on while the queue server is away.
"""

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from redis.exceptions import RedisError

from wsi.errors import SlideUnreadableError
from wsi.log_setup import logging_job
from wsi.stored_slides import SLIDE_ID, is_seen, stored_slide_path

from ..errors import EngineDiedError
from ..identity import LabelIdentity
from ..jobs import Job, Problem, Progress
from ..protocol import (
    Cancel,
    Clean,
    Failed,
    Fault,
    FromEngine,
    Identified,
    ProgressMade,
    RunJob,
    Stopped,
    Succeeded,
    Written,
)
from ..queue.lease import JobLease, Ownership
from ..queue.recovery import forget_request
from ..queue.registry import host_name
from ..queue.tallies import Addition
from ..settings import WorkerSettings
from .engine_process import EngineProcess, EngineState
from .host_health import HostFault, HostHealth, disk_full_problem, over_when_fit
from .job_tally import job_additions

logger = logging.getLogger(__name__)

T = TypeVar("T")

POLL_S = 0.25
"""How long the worker listens to the pipe at a time; also how late it may notice a stop."""


FULL_S = 2.0
"""How long a job waits for room on this host's disk while other hosts might have some, in seconds."""

FULL_STAGE = "disk-full"
"""Stage of a job that waits for room; see `workers.engine.full_disk`."""


class Outcome(StrEnum):
    """How a run ended, for RQ's records and the log."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RELEASED = "released"
    REFUSED = "refused"
    STALE = "stale"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """Parts of a worker that a run needs.

    `beat` is called at every heartbeat that reached the queue server; `stopping` says whether the worker is
    to end.
    """

    lease: JobLease
    engine: EngineProcess
    settings: WorkerSettings
    worker: str
    beat: Callable[[], None]
    stopping: Callable[[], bool]
    tally: Callable[[Iterable[Addition]], object] = tuple
    """Takes what an attempt adds to the sums of `workers.queue.tallies`; by default they are dropped."""
    health: HostHealth = field(default_factory=HostHealth)

    def run(self, job_id: str, attempt: int) -> Outcome:
        """Run an attempt to its end.

        Raises:
            redis.exceptions.RedisError: the attempt cannot even be started.
        """
        job = self.lease.start(job_id, attempt, self.worker)
        if job is None:
            logger.info("job %r, attempt %r: not wanted, or not any more", job_id, attempt)
            return Outcome.STALE
        began, run = time.monotonic(), JobRun(self, job)
        with logging_job(job_id):
            outcome = run.follow()
        seconds = time.monotonic() - began
        self.tally(job_additions(job, outcome, seconds=seconds, crashes=run.crashes))
        logger.info("job %s, attempt %d: %s", job_id, run.attempt, outcome)
        return outcome


class JobRun:
    """Run of one job from start to end; retries after a crash are part of it."""

    def __init__(self, context: WorkerContext, job: Job) -> None:
        self.attempt = job.attempt
        self.crashes = 0
        """Engine processes that did not survive the run."""
        self._context = context
        self._job = job
        self._progress: Progress | None = None
        self._sent = False
        self._slide: Path | None = None
        self._pin: LabelIdentity | None = None
        self._may_clean = False
        self._full_since: float | None = None
        self._heard_at = time.monotonic()
        self._beat_at = 0.0
        self._cancel_at: float | None = None
        self._reachable = True

    def follow(self) -> Outcome:
        """Listen and act until the job is over, taken away or released; return which."""
        while True:
            try:
                outcome = self._step()
            except EngineDiedError as error:
                outcome = self._after_death(str(error))
            if outcome is not None:
                return outcome

    def _step(self) -> Outcome | None:
        engine, stopping = self._context.engine, self._context.stopping()
        if engine.state is EngineState.FAILED or (stopping and not self._sent):
            return self._release()
        if engine.state is EngineState.READY and not self._sent:
            try:
                self._send()
            except SlideUnreadableError as error:
                return self._without_slide(error)
        message = engine.receive(0 if stopping else POLL_S)
        if message is not None:
            self._heard_at = time.monotonic()
        elif stopping:
            # Only now that the pipe is empty: a job that is finished is published, not released.
            return self._release()
        return self._hear(message) or self._beat() or self._watch()

    def _send(self) -> None:
        settings = self._context.settings
        slide = self._slide = stored_slide_path(settings.slides_dir, self._job.request.slide_id)
        pinned = None
        if self.attempt > 1:
            # Without it the run goes on in a folder of its own, if it makes labels another way.
            with suppress(RedisError):
                pinned = self._context.lease.pinned(self._job.id)
        run = RunJob.of(self._job, self.attempt, slide, named=settings.slide_names, pinned=pinned)
        self._context.engine.send(run)
        self._sent = True
        self._heard_at = time.monotonic()

    def _hear(self, message: FromEngine | None) -> Outcome | None:
        """Act on a message of the engine process."""
        lease, job_id, attempt = self._context.lease, self._job.id, self.attempt
        match message:
            case ProgressMade(progress):
                self._progress = progress
                self._full_since = (
                    (self._full_since or time.monotonic()) if progress.stage == FULL_STAGE else None
                )
            case Identified(identity):
                self._pin = identity
            case Written():
                # Answered once a heartbeat has shown that the job is still ours.
                self._may_clean, self._beat_at = True, 0.0
            case Succeeded():
                last = replace(self._progress or Progress(), fraction=1.0, stage="done", eta_s=None)
                return self._publish(Outcome.SUCCEEDED, lambda: lease.succeed(job_id, attempt, last))
            case Stopped():
                return self._publish(
                    Outcome.CANCELLED, lambda: lease.confirm_cancel(job_id, attempt, self._progress)
                )
            case Failed(problem, suspect=True):
                return self._after_crash(problem, problem.detail)
            case Failed(problem, fault=Fault() as fault):
                return self._refuse(problem, fault)
            case Failed(problem):
                self._context.health.note_well()
                return self._fail(problem)
        return None

    def _without_slide(self, error: SlideUnreadableError) -> Outcome:
        """Leave a job to others whose slide's record is not to be read here."""
        problem = Problem("slide-unreadable", "The slide cannot be read", str(error))
        if not SLIDE_ID.fullmatch(self._job.request.slide_id):
            return self._fail(problem)
        seen = is_seen(self._context.settings.slides_dir)
        return self._refuse(problem, Fault.SLIDE if seen else Fault.HOST)

    def _refuse(self, problem: Problem, fault: Fault) -> Outcome:
        """Leave the job to the workers that have not refused it yet; without any it fails.

        A fault of the host counts against it, and that it does not see a slide counts if others may.
        """
        lease, job, worker = self._context.lease, self._job, self._context.worker
        self._insist(lambda: lease.refusals.note(worker, job.id, problem))
        others = self._insist(lambda: lease.refusals.others(job.id, job.request, worker))
        if others is None:
            # Stopping without an answer of the queue: the lease will end.
            return Outcome.LOST
        if fault is Fault.HOST or (fault is Fault.SLIDE and others):
            is_over = over_when_fit(problem, self._slide, self._context.settings)
            self._context.health.note(HostFault(job.id, problem, is_over))
        if not others:
            return self._fail(problem)
        logger.warning("job %s, attempt %d: left to others: %s", job.id, self.attempt, problem.detail)
        return Outcome.REFUSED if self._insist(lambda: lease.release(job.id, self.attempt)) else Outcome.LOST

    def _fail(self, problem: Problem) -> Outcome:
        """Fail the job for good."""
        lease, job_id, attempt = self._context.lease, self._job.id, self.attempt
        return self._publish(Outcome.FAILED, lambda: lease.fail(job_id, attempt, problem, self._progress))

    def _beat(self) -> Outcome | None:
        """Renew the lease and look for a cancel, as often as settings say. An outage is sat out."""
        now = time.monotonic()
        if now - self._beat_at < self._context.settings.heartbeat_s:
            return None
        self._beat_at = now
        lease = self._context.lease
        try:
            ownership = lease.heartbeat(self._job.id, self.attempt, self._progress)
            if self._pin is not None:
                lease.pin(self._job.id, self.attempt, self._pin)
                self._pin = None
            self._context.beat()
        except RedisError as error:
            self._note_reachable(False, error)
            return None
        self._note_reachable(True)
        if ownership is Ownership.HELD and self._may_clean:
            self._may_clean = False
            self._context.engine.send(Clean(self._job.id))
        if ownership is Ownership.LOST:
            # Another worker may be at it already: both write the same bytes, but one of them is wasted.
            self._drop()
            return Outcome.LOST
        if ownership is Ownership.CANCEL_REQUESTED and self._cancel_at is None:
            self._cancel_at = now
            if self._sent:
                self._context.engine.send(Cancel(self._job.id))
        return None

    def _watch(self) -> Outcome | None:
        """Kill a pipeline that ignores a cancel or has gone silent."""
        now, settings = time.monotonic(), self._context.settings
        grace_s = settings.cancel_grace_s if self._sent else 0.0
        if self._cancel_at is not None and now - self._cancel_at >= grace_s:
            return self._end_cancelled()
        if self._full_since is not None and now - self._full_since >= FULL_S:
            return self._leave_to_roomier()
        if self._sent and not self._may_clean and now - self._heard_at > settings.stall_timeout_s:
            return self._after_death(
                f"The pipeline gave no sign of life for {settings.stall_timeout_s:.0f} s and was killed."
            )
        return None

    def _leave_to_roomier(self) -> Outcome | None:
        """Leave a job that waits for room to another host, if one may have some; else let it wait."""
        self._full_since = time.monotonic()
        lease, job, worker = self._context.lease, self._job, self._context.worker
        others = self._insist(lambda: lease.refusals.others(job.id, job.request, worker)) or ()
        host = host_name()
        if all(other.host == host for other in others):
            return None
        self._drop()
        return self._refuse(disk_full_problem(self._context.settings.data_dir), Fault.HOST)

    def _after_death(self, detail: str) -> Outcome | None:
        """Go on with a new engine process; a death before the job was handed over is not the job's."""
        if not self._sent and self._cancel_at is None:
            logger.warning("job %s, attempt %d: %s", self._job.id, self.attempt, detail)
            self._context.engine.start()
            return None
        return self._after_crash(crash_problem(detail), detail)

    def _after_crash(self, problem: Problem, detail: str) -> Outcome | None:
        """Try again with a new engine process; the job fails with `problem` if that was the last time.

        `detail` says what happened.
        """
        if self._cancel_at is not None:
            return self._end_cancelled()
        logger.warning("job %s, attempt %d: %s", self._job.id, self.attempt, detail)
        self.crashes += 1
        self._drop()
        lease, job_id, attempt, worker = self._context.lease, self._job.id, self.attempt, self._context.worker
        next_attempt = self._insist(lambda: lease.retry(job_id, attempt, worker, problem, self._progress))
        if next_attempt is None:
            return Outcome.LOST if self._context.stopping() else Outcome.FAILED
        self.attempt = next_attempt
        logger.info("job %s: tried again as attempt %d", self._job.id, self.attempt)
        return None

    def _end_cancelled(self) -> Outcome:
        self._drop()
        lease, job_id, attempt = self._context.lease, self._job.id, self.attempt
        return self._publish(Outcome.CANCELLED, lambda: lease.confirm_cancel(job_id, attempt, self._progress))

    def _release(self) -> Outcome:
        """Put the job back to the front of the queue; the engine process must not touch it any more."""
        if self._sent:
            self._context.engine.kill()
        try:
            released = self._context.lease.release(self._job.id, self.attempt)
        except RedisError as error:
            logger.warning("job %s: cannot be released now (%s); its lease will end", self._job.id, error)
            return Outcome.LOST
        return Outcome.RELEASED if released else Outcome.LOST

    def _drop(self) -> None:
        """Take the job from the engine process, by killing that if the job has begun."""
        if self._sent:
            self._context.engine.start()
            self._sent = False

    def _publish(self, outcome: Outcome, publish: Callable[[], bool]) -> Outcome:
        if not self._insist(publish):
            return Outcome.LOST
        if outcome is not Outcome.SUCCEEDED:
            forget_request(self._job.files)
        else:
            self._context.health.note_well()
        return outcome

    def _insist(self, publish: Callable[[], T]) -> T | None:
        """Call `publish` until the queue server answers; None if the worker has to stop before that."""
        while True:
            try:
                return publish()
            except RedisError as error:
                self._note_reachable(False, error)
                if self._context.stopping():
                    return None
                time.sleep(POLL_S)

    def _note_reachable(self, reachable: bool, error: RedisError | None = None) -> None:
        if reachable and not self._reachable:
            logger.info("job %s: the queue answers again", self._job.id)
        elif self._reachable and not reachable:
            logger.warning("job %s: the queue does not answer (%s), going on", self._job.id, error)
        self._reachable = reachable


def crash_problem(detail: str) -> Problem:
    """Return the problem of a job whose pipeline crashes again and again."""
    return Problem(
        type="pipeline-crashed",
        title="The job crashed its process again and again without finishing another patch",
        detail=f"{detail} The job was given up so that it does no harm to others.",
    )
