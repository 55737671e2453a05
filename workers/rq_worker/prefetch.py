"""Make the tissue mask of the next job while the current one computes, so that no GPU waits for it.

A short process of its own reads the slide (`workers.engine.tissue`): a hostile slide may kill it, and neither
the worker nor the job that runs may suffer. Whatever goes wrong here stays here: the job makes what it does
not find.
"""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from wsi.die_with_parent import die_with_parent
from wsi.errors import WsiError
from wsi.stored_slides import stored_slide_path

from ..errors import JobNotFoundError
from ..jobs import Job, JobRequest, JobState, is_job_id
from ..protocol import RunJob
from ..queue.records import JobRecords
from ..queue.rq_lists import RqLists
from ..settings import WorkerSettings

logger = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "workers.engine.tissue")

NICENESS = 19
"""Niceness of the prefetching process: the job that runs goes first."""

LIMIT_S = 600
"""Seconds that making a mask may take: network storage can hang."""

STOP_S = 1.0
"""How long a killed process is waited for, in seconds."""


class Prefetcher:
    """Maker of the tissue masks of waiting jobs, one at a time.

    A job's directory is the claim on it: whoever makes it makes the mask, so several workers share the work,
    none is tried twice, and a job that has run before, which may have its mask, is left alone. Use it from
    the main thread (see `wsi.die_with_parent`).
    """

    def __init__(self, redis: Redis, settings: WorkerSettings, *, command: Sequence[str] = COMMAND) -> None:
        """Watch the jobs that wait behind `redis`.

        `command` makes a mask; it gets the same two arguments as `workers.engine.tissue`.
        """
        self._records = JobRecords(redis, settings.jobs_dir)
        self._lists = RqLists(redis)
        self._settings = settings
        self._command = command
        self._job: Job | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the prefetching process, None while there is none."""
        return self._process.pid if self._process else None

    def look_ahead(self, cards: Sequence[str], workers: int = 1) -> None:
        """Start on the next job unless a mask is being made; `cards` are the worker's model cards as JSON.

        As many waiting jobs are looked at as there are live `workers`, or as there are here: so many may
        start next. To be called now and then while a job runs. Waits for nothing but the queue server, and
        raises nothing.
        """
        self.poll()
        if self._process is not None or not self._settings.prepare_ahead:
            return
        try:
            self._start_next(cards, max(workers, self._settings.workers))
        except (RedisError, WsiError, OSError, ValueError, subprocess.SubprocessError) as error:
            logger.debug("no mask can be made ahead now: %s", error)

    def poll(self) -> None:
        """Kill a process whose job does not wait any more, and clear away what is over. Raises nothing."""
        if self._process is None:
            return
        # Before the record is looked up: a job deleted between the two would leave its directory.
        ended = self._process.poll() is not None
        try:
            job = self._current()
        except RedisError as error:
            logger.debug("the prefetched job cannot be looked up now: %s", error)
            return
        if ended:
            self._finish(job)
        elif job is None or job.state is not JobState.QUEUED:
            # Not waited for: what hangs in the kernel must not hold the worker up.
            self._process.kill()

    def stop(self) -> None:
        """Kill the process that runs. Raises nothing."""
        if self._process is None:
            return
        self._process.kill()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            logger.debug("the prefetching process %d does not end yet", self._process.pid)
        self.poll()

    def _start_next(self, cards: Sequence[str], limit: int) -> None:
        """Start on the first unclaimed one of the next jobs, `limit` at most."""
        for job_id in self._lists.waiting(limit):
            if not is_job_id(job_id) or (self._settings.jobs_dir / job_id).exists():
                continue
            try:
                job = self._records.get(job_id)
            except JobNotFoundError:
                continue
            if job.state is not JobState.QUEUED or not job.request.parameters.tissue:
                continue
            card_input = _input_of(job.request, cards)
            slide = stored_slide_path(self._settings.slides_dir, job.request.slide_id)
            if card_input and os.access(slide, os.R_OK) and _claim(Path(job.directory)):
                self._start(job, slide, card_input)
                return

    def _start(self, job: Job, slide: Path, card_input: dict[str, Any]) -> None:
        run = RunJob.of(job, job.attempt, slide, named=self._settings.slide_names)
        self._process = subprocess.Popen(
            [*self._command, run.to_json(), json.dumps(card_input)],
            # The child must find this package wherever the worker did.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # Ctrl-C is the worker's to act on. No session of its own: Linux may deal out CPU time by session,
            # and would heed the niceness only among the processes of one.
            process_group=0,
            preexec_fn=_restraints(os.getpid()),  # noqa: PLW1509 - only system calls, looked up beforehand
        )
        self._job = job
        logger.debug("job %s: mask made ahead by process %d", job.id, self._process.pid)

    def _current(self) -> Job | None:
        """Return the record of the job whose mask is being made as it is now; None if it was deleted."""
        assert self._job is not None
        try:
            return self._records.get(self._job.id)
        except JobNotFoundError:
            return None

    def _finish(self, job: Job | None) -> None:
        """Forget a process that has ended; `job` is the record now."""
        assert self._job is not None
        assert self._process is not None
        code = self._process.returncode
        if code not in (0, -signal.SIGKILL):
            logger.warning(
                "job %s: making its mask ahead ended with exit code %d; left to the job", self._job.id, code
            )
        # Deleted or cancelled meanwhile: nobody else has written there, and whoever removed the job's files
        # may have been too early.
        if job is None or (job.state.is_final and job.started_at is None):
            shutil.rmtree(self._job.directory, ignore_errors=True)
        self._job = self._process = None


def _input_of(request: JobRequest, cards: Sequence[str]) -> dict[str, Any] | None:
    """Return the `input` of the card that a job is for, None if there is none."""
    for card in map(json.loads, cards):
        weights = card.get("weights", {}).get("sha256")
        if card["name"] == request.model and request.model_sha256 in (None, weights):
            found: dict[str, Any] | None = card.get("input")
            return found
    return None


def _claim(directory: Path) -> bool:
    """Make the directory of a job; False if it is there."""
    try:
        directory.mkdir(parents=True)
    except FileExistsError:
        return False
    return True


def _restraints(worker_pid: int) -> Callable[[], None]:
    """Return a function for the child to call first.

    With it the child ends with the worker, ends in time, and gives way to other processes.
    """
    tie = die_with_parent(worker_pid)

    def restrain() -> None:
        tie()
        os.nice(NICENESS)
        signal.alarm(LIMIT_S)

    return restrain
