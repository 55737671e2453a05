"""Tell faults of this host from those of a job: another host may run what this one cannot."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from model.errors import CardError, DeviceError, WeightsError
from wsi.errors import WsiError
from wsi.stored_slides import is_seen

from ..errors import ModelUnknownError, NotEnoughDiskError, OutsideSandboxError, WeightsMissingError
from ..jobs import Problem
from ..protocol import Fault, RunJob
from .failures import expected, problem_of

HOST_ERRORS = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.ENODEV,
        errno.ENXIO,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
    }
)
"""Numbers of system errors that say more about a host and its mounts than about a file."""


def fault_of(error: Exception, run: RunJob) -> Fault | None:
    """Return where the fault of a failed run may lie, other than with the job; None if it is the job's."""
    if isinstance(error, ModelUnknownError | DeviceError):
        return Fault.UNFIT
    if isinstance(
        error, WeightsError | CardError | WeightsMissingError | NotEnoughDiskError | OutsideSandboxError
    ):
        return Fault.HOST
    slide = Path(run.slide_path)
    about_files = isinstance(error, WsiError) or any(_system_errors(error))
    if about_files and not os.access(slide, os.R_OK):
        return Fault.SLIDE if is_seen(slide.parent) else Fault.HOST
    if any(cause.errno in HOST_ERRORS for cause in _system_errors(error)):
        return Fault.HOST
    return None


def fault_problem(error: Exception, run: RunJob) -> Problem:
    """Return the problem of a run that failed by a fault of its host."""
    if expected(error):
        return problem_of(error)
    return Problem(
        "storage-refused",
        "The worker's host cannot use its folders",
        f"A worker could not read or write what it must for the job {run.job_id}: {error}. See that the "
        "user of the worker may read the slides and write in the data folder.",
    )


def _system_errors(error: BaseException) -> Iterator[OSError]:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            yield cause
        cause = cause.__cause__ or cause.__context__
