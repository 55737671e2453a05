"""Faults of hosts told from those of jobs."""

import errno
import os
from pathlib import Path

import pytest

from model.errors import DeviceError, WeightsError
from workers.engine.faults import fault_of, fault_problem
from workers.errors import ModelUnknownError, NotEnoughDiskError, OutsideSandboxError
from workers.jobs import JobParameters
from workers.protocol import Fault, RunJob
from wsi.errors import LabelStoreError, MppUnknownError, SlideUnreadableError


@pytest.fixture
def run(tmp_path: Path) -> RunJob:
    """A job on a slide that is there, among others."""
    slide = tmp_path / "nas" / "a.svs"
    slide.parent.mkdir()
    slide.touch()
    (slide.parent / "b.svs").touch()
    return RunJob("job", 1, slide.name, str(slide), str(tmp_path / "jobs" / "job"), "m", JobParameters())


def caused_by(error: Exception, number: int) -> Exception:
    """An error with a system error behind it."""
    error.__cause__ = OSError(number, os.strerror(number))
    return error


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (SlideUnreadableError("damaged"), None),
        (MppUnknownError(), None),
        (RuntimeError("odd"), None),
        (OSError(errno.ENOSPC, "full"), None),
        (OSError(errno.EROFS, "read-only"), Fault.HOST),
        (PermissionError(errno.EACCES, "no"), Fault.HOST),
        (caused_by(LabelStoreError("cannot be stored"), errno.ESTALE), Fault.HOST),
        (WeightsError("not the file its card describes"), Fault.HOST),
        (NotEnoughDiskError(needed=2, free=1, directory=Path("/jobs")), Fault.HOST),
        (OutsideSandboxError("elsewhere"), Fault.HOST),
        (ModelUnknownError("not here"), Fault.UNFIT),
        (DeviceError("fp16 is for GPUs"), Fault.UNFIT),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_where_the_fault_lies(run: RunJob, error: Exception, fault: Fault | None) -> None:
    assert fault_of(error, run) is fault


def test_a_slide_that_is_not_there_may_be_gone_or_its_mount(run: RunJob) -> None:
    slide = Path(run.slide_path)
    slide.unlink()
    error = SlideUnreadableError("does not exist")
    assert fault_of(error, run) is Fault.SLIDE, "others of its folder are"
    assert fault_of(RuntimeError("odd"), run) is None
    (slide.parent / "b.svs").unlink()
    assert fault_of(error, run) is Fault.HOST, "an empty folder is a mount point"
    slide.parent.rmdir()
    assert fault_of(error, run) is Fault.HOST


def test_a_system_error_is_told_with_what_to_do(run: RunJob) -> None:
    problem = fault_problem(PermissionError(errno.EACCES, "Permission denied", "/jobs/job"), run)
    assert problem.type == "storage-refused"
    assert "Permission denied" in problem.detail
    assert fault_problem(WeightsError("torn"), run).type == "weights"
