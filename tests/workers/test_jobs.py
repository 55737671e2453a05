"""Job records as values."""

from hypothesis import given
from hypothesis import strategies as st

from workers.jobs import Job, JobParameters, JobRequest, JobState, Problem, Progress, problem_type

numbers = st.floats(0, 2e9, allow_nan=False)
optional_numbers = st.none() | numbers
words = st.text(max_size=20)

jobs = st.builds(
    Job,
    id=words,
    state=st.sampled_from(JobState),
    request=st.builds(
        JobRequest,
        slide_id=words,
        slide_name=words,
        slide_path=words,
        model=words,
        parameters=st.builds(
            JobParameters, optional_numbers, st.none() | st.integers(0, 256), st.none() | words, st.booleans()
        ),
        priority=st.sampled_from(["normal", "high"]),
    ),
    directory=words,
    progress=st.builds(
        Progress, numbers, words, st.integers(0), st.integers(0), optional_numbers, optional_numbers
    ),
    attempt=st.integers(1, 99),
    crashes=st.integers(0, 9),
    created_at=numbers,
    started_at=st.none() | st.floats(1, 2e9),
    finished_at=st.none() | st.floats(1, 2e9),
    worker=st.none() | words,
    cancel_requested=st.booleans(),
    error=st.none() | st.builds(Problem, words, words, words),
    revision=st.integers(0),
)


@given(jobs)
def test_a_record_survives_being_a_redis_hash(job: Job) -> None:
    fields = job.to_hash()
    assert all(isinstance(value, str) for value in fields.values())
    assert Job.from_hash(fields) == job


class SlideNotFoundError(Exception):
    """An error to name."""


def test_a_problem_is_named_after_its_error() -> None:
    assert problem_type(SlideNotFoundError) == "slide-not-found"
    assert problem_type(KeyError) == "key"
