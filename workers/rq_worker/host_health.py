"""Judge whether this worker's host is fit to run jobs, by the jobs it had to leave to others."""

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from wsi.stored_slides import is_seen

from ..jobs import Problem
from ..settings import WorkerSettings

logger = logging.getLogger(__name__)

LIMIT = 3
"""Jobs in a row that a host could not run, after which it takes no more."""

CHECK_S = 5.0
"""How often a host that takes no jobs is looked at, in seconds."""

RETRY_S = 300.0
"""Seconds after which it tries a job even if it still looks unfit: looks deceive."""

LEAST_FREE = 50_000_000
"""Bytes that must be free where jobs lie."""

DISK_FULL = "disk-full"
STORAGE = "storage-differs"
"""Types of problems of hosts."""

WEIGHTS = ("weights", "weights-missing", "card")
"""Types of problems that other files in the weights folder may cure."""

SETTINGS = ("outside-sandbox",)
"""Types of problems that only a worker with other settings does not have."""


@dataclass(frozen=True, slots=True)
class HostFault:
    """A job that this host could not run; `is_over` says whether it could by now."""

    job_id: str
    problem: Problem
    is_over: Callable[[], bool]


@dataclass
class HostHealth:
    """Count of faults in a row; at LIMIT the host is set aside until they are over."""

    faults: list[HostFault] = field(default_factory=list)
    storage: Problem | None = None
    """Why the data folder is the wrong one, if it is."""
    _set_aside: bool = False
    _check_at: float = 0.0
    _retry_at: float = 0.0

    @property
    def reason(self) -> Problem | None:
        """Why this host takes no jobs; None while it does."""
        if self.storage is not None:
            return self.storage
        if not self._set_aside:
            return None
        last = self.faults[-1].problem
        return Problem(
            last.type,
            last.title,
            f"Jobs in a row that could not run here: {len(self.faults)}. The last: {last.detail}",
        )

    def note(self, fault: HostFault) -> None:
        """Count a job that this host could not run."""
        self.faults.append(fault)
        if (self._is_certain() or len(self.faults) >= LIMIT) and not self._set_aside:
            self._set_aside = True
            now = time.monotonic()
            self._check_at, self._retry_at = now + CHECK_S, now + RETRY_S
            logger.error("this worker takes no more jobs: %s", fault.problem.detail)

    def _is_certain(self) -> bool:
        """Return whether the last fault needs no others beside it: room on a disk can be measured."""
        return self.faults[-1].problem.type == DISK_FULL

    def note_well(self) -> None:
        """Count a job that ran here, whatever became of it."""
        self.faults.clear()

    def compare_storage(self, expected: str | None, own: str, data_dir: Path) -> None:
        """Compare the tokens of the API's data folder and this host's; None: no API has told one yet."""
        wrong = expected is not None and expected != own
        if wrong and self.storage is None:
            self.storage = storage_problem(data_dir)
            logger.error("this worker takes no jobs: %s", self.storage.detail)
        elif not wrong and self.storage is not None:
            self.storage = None
            logger.info("the data folder is that of the API now")

    def recover(self, was_the_jobs: Callable[[str], bool]) -> tuple[HostFault, ...]:
        """Look, now and then, whether the faults are over; return those that are once enough of them are.

        `was_the_jobs` says of a job whether it could not run anywhere: that was no fault of the host.
        """
        now = time.monotonic()
        if not self._set_aside or now < self._check_at:
            return ()
        self._check_at = now + CHECK_S
        late = now >= self._retry_at
        standing = (
            [] if late else [one for one in self.faults if not (one.is_over() or was_the_jobs(one.job_id))]
        )
        if len(standing) >= LIMIT or any(one.problem.type == DISK_FULL for one in standing):
            return ()
        gone = tuple(fault for fault in self.faults if fault not in standing)
        # One more fault sets a host aside again that is only on trial.
        self.faults = self.faults[-(LIMIT - 1) :] if late else standing
        self._set_aside = False
        logger.info("this worker takes jobs again")
        return gone


def storage_problem(data_dir: Path) -> Problem:
    """Return the problem of a worker whose data folder is another one than the API's."""
    return Problem(
        STORAGE,
        "This worker's data folder is not the API's",
        f"{data_dir} on this host is not the folder in which the API keeps slides and jobs. Mount that "
        "folder here and set DAREFINE_DATA_DIR to it.",
    )


def disk_full_problem(folder: Path) -> Problem:
    """Return the problem of a host that has no room where others may have."""
    return Problem(
        DISK_FULL,
        "No room on this host",
        f"{folder} takes no more on this host: its disk is full, or a quota is.",
    )


def is_about_weights(problem: Problem) -> bool:
    """Return whether a problem is one of model cards or weights."""
    return problem.type in WEIGHTS


def over_when_fit(problem: Problem, slide: Path | None, settings: WorkerSettings) -> Callable[[], bool]:
    """Return what tells whether a fault of this host is over.

    Slides can be seen again, the data folder takes files, the weights folder has changed.
    """
    return partial(_is_fit, problem.type, slide, settings, _signature(settings.weights_dir))


def _is_fit(
    kind: str, slide: Path | None, settings: WorkerSettings, weights: Sequence[tuple[str, int]]
) -> bool:
    if kind in SETTINGS:
        return False
    if slide is not None and not (os.access(slide, os.R_OK) or is_seen(slide.parent)):
        return False
    if kind in WEIGHTS and _signature(settings.weights_dir) == weights:
        return False
    return takes_files(settings.jobs_dir)


def takes_files(folder: Path) -> bool:
    """Return whether files can be written in a folder, and there is room."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
        return shutil.disk_usage(folder).free >= LEAST_FREE
    except OSError:
        return False


def _signature(folder: Path) -> tuple[tuple[str, int], ...]:
    """Return names and times of the files in a folder."""
    try:
        return tuple(sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir()))
    except OSError:
        return ()
