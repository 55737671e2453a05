"""When a worker ends by itself."""

import pytest
from pydantic import ValidationError

from workers.work_limits import WorkLimits


def test_limits_survive_the_command_line() -> None:
    for limits in (WorkLimits(), WorkLimits(max_idle_s=0), WorkLimits(max_idle_s=2.5, max_jobs=3, until=1e9)):
        assert WorkLimits.of_arguments(limits.to_arguments()) == limits
    assert WorkLimits().to_arguments() == []
    with pytest.raises(ValidationError):
        WorkLimits.of_arguments(['{"max_jobs": 0}'])


@pytest.mark.parametrize(
    ("limits", "wait_s"),
    [
        (WorkLimits(), None),
        (WorkLimits(max_jobs=1), None),
        (WorkLimits(max_idle_s=0), 0),
        (WorkLimits(max_idle_s=1.2), 2),
        (WorkLimits(max_idle_s=60, until=130.0), 30),
        (WorkLimits(max_idle_s=10, until=130.0), 10),
        (WorkLimits(until=90.0), 0),
    ],
)
def test_no_job_is_waited_for_beyond_a_limit(limits: WorkLimits, wait_s: int | None) -> None:
    assert limits.wait_s(100.0) == wait_s


def test_jobs_and_time_are_limits() -> None:
    assert WorkLimits(until=100.0).are_reached(100.0, 0)
    assert not WorkLimits(until=100.1).are_reached(100.0, 5)
    assert WorkLimits(max_jobs=2).are_reached(0, 2)
    assert not WorkLimits(max_jobs=2).are_reached(0, 1)
