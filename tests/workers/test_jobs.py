"""Jobs as values."""

from pathlib import Path

import pytest

from workers.jobs import JobRequest, JobState, new_job, problem_type, result_stem


class SlideNotFoundError(Exception):
    """An error to name."""


def test_a_problem_is_named_after_its_error() -> None:
    assert problem_type(SlideNotFoundError) == "slide-not-found"
    assert problem_type(KeyError) == "key"


def test_a_new_job_is_queued_and_has_a_directory_of_its_own() -> None:
    request = JobRequest("s", "a.svs", "/slides/a.svs", "m")
    one, two = (new_job(request, Path("/jobs")) for _ in range(2))
    assert (one.state, one.attempt, one.error) == (JobState.QUEUED, 1, None)
    assert one.directory == f"/jobs/{one.id}"
    assert one.files.overlay == Path(one.directory) / "overlay.tif"
    assert one.id != two.id
    assert one.id[:12] <= two.id[:12], "ids sort by time, to the millisecond"


def test_a_state_is_final_unless_the_job_waits_or_runs() -> None:
    assert [state for state in JobState if not state.is_final] == [JobState.QUEUED, JobState.RUNNING]


@pytest.mark.parametrize(
    ("slide", "stem"),
    [
        ("case.svs", "case.m"),
        ("case.ome.tif", "case.ome.m"),
        ("case.mrxs.zip", "case.m"),
        ("1.2.840.zip", "1.2.840.m"),
        ("1.2.840", "1.2.840.m"),
        ("folder", "folder.m"),
        (".svs", ".svs.m"),
    ],
)
def test_result_files_are_called_after_slide_and_model(slide: str, stem: str) -> None:
    assert result_stem(slide, "m") == stem
