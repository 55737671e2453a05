"""Waiting while the disk is full: which errors mean that, and what happens meanwhile."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.engine import full_disk
from workers.engine.full_disk import STAGE, bytes_missing, run_when_there_is_room
from workers.errors import JobCancelledError, NotEnoughDiskError
from workers.jobs import Progress
from wsi.errors import LabelStoreError

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full_disk, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(full_disk, "LOOK_S", 0.01)


def failing(errors: list[Exception]) -> Callable[[Callable[[Progress], None]], None]:
    def pipeline(report: Callable[[Progress], None]) -> None:
        report(Progress(fraction=0.4, stage="segment", eta_s=9.0))
        if errors:
            raise errors.pop(0)

    return pipeline


def test_the_pipeline_runs_again_until_it_could_write(tmp_path: Path) -> None:
    wrapped = LabelStoreError("Patch 3 cannot be stored")
    wrapped.__cause__ = FULL
    told: list[Progress] = []
    run_when_there_is_room(failing([FULL, wrapped]), tmp_path, told.append, lambda: False)
    assert [one.stage for one in told] == ["segment", STAGE, "segment", STAGE, "segment"]
    assert told[1] == Progress(fraction=0.4, stage=STAGE)


def test_other_errors_are_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(PermissionError):
        run_when_there_is_room(failing([PermissionError(13, "no")]), tmp_path, lambda _: None, lambda: False)


def test_a_cancel_ends_the_wait(tmp_path: Path) -> None:
    with pytest.raises(JobCancelledError):
        run_when_there_is_room(failing([FULL] * 99), tmp_path, lambda _: None, lambda: True)


def test_a_job_that_fits_on_no_empty_disk_fails(tmp_path: Path) -> None:
    never = NotEnoughDiskError(needed=10**18, free=5, directory=tmp_path)
    assert bytes_missing(never, tmp_path) is None
    assert bytes_missing(NotEnoughDiskError(needed=10**6, free=5, directory=tmp_path), tmp_path) == 10**6
