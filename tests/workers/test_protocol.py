"""The messages between a worker and its engine process as text."""

import json
import pickle

import pytest

from workers.errors import RecordInvalidError
from workers.jobs import JobParameters, Problem, Progress
from workers.protocol import (
    Failed,
    FromEngine,
    LoadFailed,
    ProgressMade,
    Ready,
    RunJob,
    Stopped,
    Succeeded,
    from_bytes,
    to_bytes,
)

TEXT = (
    '{"job_id": "0190", "attempt": 2, "slide_name": "Pr\\u00e4parat 7.svs", "slide_path": "/slides/a.svs", '
    '"directory": "/data/jobs/0190", "model": "da-refinenet", "parameters": {"mpp": 0.25, "halo_px": 64, '
    '"precision": "bf16", "tissue": false}}'
)
RUN = RunJob(
    job_id="0190",
    attempt=2,
    slide_name="Präparat 7.svs",
    slide_path="/slides/a.svs",
    directory="/data/jobs/0190",
    model="da-refinenet",
    parameters=JobParameters(mpp=0.25, halo_px=64, precision="bf16", tissue=False),
)


def test_a_run_is_written_and_read_as_before() -> None:
    assert RunJob.from_json(TEXT) == RUN
    assert RUN.to_json() == TEXT


@pytest.mark.parametrize("change", [{"attempt": "2"}, {"model": None}, {"parameters": {"tissue": 1}}])
def test_a_message_of_another_form_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(RecordInvalidError, match="RunJob"):
        RunJob.from_json(json.dumps({**json.loads(TEXT), **change}))


PROBLEM = Problem("slide-unreadable", "The slide cannot be read", "Präparat 7.svs is damaged")


@pytest.mark.parametrize(
    "message",
    [
        Ready("cpu", "bf16", "tiny", ('{"name": "tiny"}',)),
        LoadFailed(PROBLEM, permanent=True),
        ProgressMade(Progress()),
        Succeeded(),
        Stopped(),
        Failed(PROBLEM, suspect=False),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_the_engine_says_is_read_back(message: FromEngine) -> None:
    assert from_bytes(to_bytes(message)) == message


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Succeeded()),
        b"",
        b"[]",
        b'["RunJob", {}]',
        b'["Failed", {"suspect": false}]',
        b'["Ready", 3]',
        b'{"kind": "Succeeded"}',
        b"[[], {}]",
    ],
)
def test_an_engine_that_was_taken_over_says_nothing_that_is_run(data: bytes) -> None:
    with pytest.raises(RecordInvalidError):
        from_bytes(data)
