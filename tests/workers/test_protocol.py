"""The message that goes to another process as text."""

import json

import pytest

from workers.errors import RecordInvalidError
from workers.jobs import JobParameters
from workers.protocol import RunJob

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
