"""When a host is set aside, and when it comes back."""

from pathlib import Path

import pytest

from workers.jobs import Problem
from workers.rq_worker import host_health
from workers.rq_worker.host_health import HostFault, HostHealth, disk_full_problem, over_when_fit
from workers.settings import WorkerSettings

PROBLEM = Problem("weights", "Weights", "torn")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at hosts whenever asked."""
    monkeypatch.setattr(host_health, "CHECK_S", 0.0)


def faulty(count: int, *, over: bool = False) -> HostHealth:
    """The health of a host after so many faults."""
    health = HostHealth()
    for number in range(count):
        health.note(HostFault(f"job-{number}", PROBLEM, lambda: over))
    return health


def test_three_in_a_row_set_a_host_aside() -> None:
    assert faulty(2).reason is None
    reason = faulty(3).reason
    assert reason is not None
    assert (reason.type, "torn" in reason.detail, "3" in reason.detail) == ("weights", True, True)


def test_a_job_that_runs_in_between_starts_the_count_anew() -> None:
    health = faulty(2)
    health.note_well()
    health.note(HostFault("job", PROBLEM, lambda: False))
    assert health.reason is None


def test_a_full_disk_needs_no_others() -> None:
    health = HostHealth()
    health.note(HostFault("job", disk_full_problem(Path("/data")), lambda: False))
    assert health.reason is not None
    assert health.recover(lambda _: False) == ()
    assert health.reason is not None


def test_a_host_comes_back_when_its_faults_are_over() -> None:
    assert faulty(3).recover(lambda _: False) == ()
    health = faulty(3, over=True)
    assert len(health.recover(lambda _: False)) == 3
    assert health.reason is None


def test_a_job_that_ran_nowhere_was_no_fault_of_the_host() -> None:
    health = faulty(3)
    assert [fault.job_id for fault in health.recover(lambda job_id: job_id == "job-1")] == ["job-1"]
    assert health.reason is None
    health.note(HostFault("again", PROBLEM, lambda: False))
    assert health.reason is not None, "the others still count"


def test_a_host_that_looks_unfit_for_long_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_health, "RETRY_S", 0.0)
    health = faulty(3)
    assert health.recover(lambda _: False)
    assert health.reason is None
    health.note(HostFault("again", PROBLEM, lambda: False))
    assert health.reason is not None, "one is enough then"


def test_another_data_folder_sets_a_host_aside_until_it_is_the_same() -> None:
    health = HostHealth()
    health.compare_storage(None, "", Path("/data"))
    assert health.reason is None
    health.compare_storage("a" * 32, "", Path("/data"))
    assert health.reason is not None
    assert "/data" in health.reason.detail
    health.compare_storage("a" * 32, "a" * 32, Path("/data"))
    assert health.reason is None


def test_what_tells_that_a_host_is_fit_again(tmp_path: Path) -> None:
    settings = WorkerSettings(data_dir=tmp_path / "data", weights_dir=tmp_path / "weights")
    slide = tmp_path / "nas" / "a.svs"
    missing = over_when_fit(Problem("slide-unreadable", "", ""), slide, settings)
    torn = over_when_fit(PROBLEM, None, settings)
    settings.jobs_dir.mkdir(parents=True)
    assert not missing()
    slide.parent.mkdir()
    assert not missing(), "an empty folder is a mount point"
    slide.touch()
    assert missing()
    assert not torn()
    settings.weights_dir.mkdir()
    (settings.weights_dir / "m.json").touch()
    assert torn()
    assert not over_when_fit(Problem("outside-sandbox", "", ""), slide, settings)()
