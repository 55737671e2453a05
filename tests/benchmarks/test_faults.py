"""The checks after faults can fail; `python -m benchmarks.faults` breaks real services."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.faults.checks import file_names, leftovers, wrong_jobs
from benchmarks.faults.laboratory import Laboratory
from darefine.client import ServiceUnreachableError
from workers.jobs import JobState

SLIDE = Path("a.tif")


class Service:
    """Client of a service whose every second submission gets no answer; each job ends as it is told."""

    def __init__(self, ends: list[JobState]) -> None:
        self.ends = {f"job-{index}": end for index, end in enumerate(ends)}
        self.listed = list(self.ends)
        self.bytes = dict.fromkeys(self.ends, "same")
        self._to_come = iter(self.ends)
        self._answers = False

    def submit(self, **_: Any) -> Any:
        self._answers = not self._answers
        job_id = next(self._to_come, None) if self._answers else None
        if job_id is None:
            raise ServiceUnreachableError("no answer")
        return SimpleNamespace(id=job_id)

    def job(self, job_id: str) -> Any:
        return SimpleNamespace(id=job_id, state=self.ends[job_id])

    def jobs(self) -> Iterator[Any]:
        return (SimpleNamespace(id=job_id) for job_id in self.listed)

    def result(self, job_id: str) -> Any:
        return SimpleNamespace(files={"labels": SimpleNamespace(sha256=self.bytes[job_id])})


def found_in(service: Any, known: set[str] | None = None) -> dict[str, list[str]]:
    """Run a laboratory until all jobs of the service are over, and check what it found."""
    laboratory = Laboratory(service, [SLIDE], wanted=len(service.ends), seed=0)
    laboratory.start()
    while laboratory.behind:
        laboratory.join(0.01)
    laboratory.more = False
    laboratory.finish()
    assert laboratory.refused
    return wrong_jobs(service, laboratory, known or set(service.ends), {SLIDE: {"labels": "same"}})


def test_nothing_is_wrong_where_nothing_went_wrong() -> None:
    assert not any(found_in(Service([JobState.SUCCEEDED] * 3)).values())


def test_each_wrong_is_found_and_named() -> None:
    service = Service([JobState.SUCCEEDED, JobState.FAILED, JobState.SUCCEEDED, JobState.SUCCEEDED])
    service.bytes["job-2"] = "other"
    service.listed = ["job-0", "job-1", "job-2", "job-2", "job-9"]
    assert found_in(service) == {
        "jobs lost": ["job-3"],
        "jobs doubled": ["job-2", "job-9"],
        "jobs failed": ["job-1"],
        "jobs with other bytes": ["job-2"],
    }


@pytest.mark.parametrize(
    "name", ["jobs/a/patches/7.tif", "jobs/a/.labels.tif.0.partial", "slides/.x.partial"]
)
def test_files_are_left_over_that_an_undisturbed_job_does_not_leave(tmp_path: Path, name: str) -> None:
    for job in ("a", "b"):
        (tmp_path / "jobs" / job).mkdir(parents=True)
        (tmp_path / "jobs" / job / "labels.tif").touch()
    usual = file_names(tmp_path / "jobs" / "b")
    assert not leftovers(tmp_path, usual)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    assert leftovers(tmp_path, usual) == [name]
