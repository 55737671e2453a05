"""Job records as Redis hashes, those of earlier versions too."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.conftest import Queue
from workers.errors import JobNotFoundError, RecordInvalidError
from workers.jobs import Job, JobParameters, JobRequest, JobState, Problem, Progress
from workers.queue.records import SCHEMA, JobRecords, decode_job, decode_request, encode_job

from .examples import REQUEST, running, submit

ROOT = Path("/data/jobs")
numbers = st.floats(0.001, 2e9, allow_nan=False)
optional_numbers = st.none() | numbers
words = st.text(max_size=20)
ids = st.text("0123456789abcdef", min_size=24, max_size=24)

jobs = st.builds(
    Job,
    id=ids,
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
    directory=st.just(""),
    progress=st.builds(
        Progress,
        st.floats(0, 1),
        words,
        st.integers(0, 10**9),
        st.integers(0, 10**9),
        optional_numbers,
        optional_numbers,
    ),
    attempt=st.integers(1, 99),
    crashes=st.integers(0, 9),
    created_at=numbers,
    started_at=st.none() | st.floats(1, 2e9),
    finished_at=st.none() | st.floats(1, 2e9),
    worker=st.none() | words,
    cancel_requested=st.booleans(),
    error=st.none() | st.builds(Problem, words, words, words),
    revision=st.integers(0, 10**9),
)


@given(jobs)
def test_a_record_survives_being_a_redis_hash(job: Job) -> None:
    fields = encode_job(job)
    assert all(isinstance(value, str) for value in fields.values())
    assert decode_job(job.id, fields, ROOT) == replace(job, directory=str(ROOT / job.id))


RECORD = {
    "id": "0190a1b2c3d4e5f60718293a",
    "state": "failed",
    "request": '{"model": "da-refinenet", "parameters": {"halo_px": 64, "mpp": 0.25, "precision": "bf16", '
    '"tissue": false}, "priority": "high", "slide_id": "s-1", "slide_name": "Pr\\u00e4parat 7.svs", '
    '"slide_path": "/slides/a.svs"}',
    "directory": "/data/jobs/0190a1b2c3d4e5f60718293a",
    "progress": '{"fraction": 0.5, "stage": "segment", "patches_done": 3, "patches_total": 6, '
    '"megapixels_per_second": 1.25, "eta_s": 4.0}',
    "attempt": "2",
    "crashes": "1",
    "created_at": "1764000000.25",
    "started_at": "1764000001.5",
    "finished_at": "1764000002.0",
    "worker": "host-7-ab12",
    "cancel_requested": "1",
    "error": '{"type": "slide-unreadable", "title": "Slide unreadable", "detail": "tile 7 is damaged"}',
    "revision": "9",
}
"""A record as version 0.1.0 wrote it."""

JOB = Job(
    id="0190a1b2c3d4e5f60718293a",
    state=JobState.FAILED,
    request=JobRequest(
        slide_id="s-1",
        slide_name="Präparat 7.svs",
        slide_path="/slides/a.svs",
        model="da-refinenet",
        parameters=JobParameters(mpp=0.25, halo_px=64, precision="bf16", tissue=False),
        priority="high",
    ),
    directory="/data/jobs/0190a1b2c3d4e5f60718293a",
    progress=Progress(0.5, "segment", 3, 6, 1.25, 4.0),
    attempt=2,
    crashes=1,
    created_at=1764000000.25,
    started_at=1764000001.5,
    finished_at=1764000002.0,
    worker="host-7-ab12",
    cancel_requested=True,
    error=Problem("slide-unreadable", "Slide unreadable", "tile 7 is damaged"),
    revision=9,
)


def test_a_record_of_an_earlier_version_is_read_and_written_byte_for_byte() -> None:
    assert decode_job(JOB.id, RECORD, ROOT) == JOB
    assert encode_job(JOB) == {**RECORD, "schema": str(SCHEMA)}, "0.1.0 passes over fields, not over members"


def test_a_record_of_a_later_version_is_read() -> None:
    fields = {**RECORD, "schema": "99", "unheard_of": "1"}
    for field in ("request", "progress", "error"):
        fields[field] = json.dumps({**json.loads(RECORD[field]), "unheard_of": {"of": 1}})
    request = json.loads(fields["request"])
    request["parameters"]["unheard_of"] = [1]
    assert decode_job(JOB.id, {**fields, "request": json.dumps(request)}, ROOT) == JOB


MEMBERS_0_1_0 = {
    "request": {"slide_id", "slide_name", "slide_path", "model", "parameters", "priority"},
    "progress": {
        *("fraction", "stage", "patches_done", "patches_total", "megapixels_per_second", "eta_s"),
    },
    "error": {"type", "title", "detail"},
}
"""Members of JSON that version 0.1.0 read; it refused a record with any other."""


@given(jobs)
def test_the_version_before_reads_what_this_one_writes(job: Job) -> None:
    fields = encode_job(job)
    assert set(RECORD) - set(fields) <= {"started_at", "finished_at", "worker", "cancel_requested", "error"}
    for field, members in MEMBERS_0_1_0.items():
        assert set(json.loads(fields.get(field, "{}"))) <= members
    request = json.loads(fields["request"])
    assert set(request) == MEMBERS_0_1_0["request"]
    assert set(request["parameters"]) == {"mpp", "halo_px", "precision", "tissue"}


def test_a_pinned_model_is_a_member_that_the_version_before_passes_over(queue: Queue) -> None:
    job = submit(queue, model_sha256="ab" * 32)
    fields = {
        name.decode(): value.decode() for name, value in queue.redis.hgetall(f"darefine:job:{job.id}").items()
    }
    request = json.loads(fields["request"])
    assert request.pop("model_sha256") == fields["model_sha256"] == "ab" * 32
    assert decode_request(json.dumps(request)) == replace(job.request, model_sha256=None)
    assert set(fields) - set(encode_job(job)) == {"slide", "priority", "model_sha256"}, "the queue's own"


def test_a_path_in_a_record_is_not_believed() -> None:
    fields = {**RECORD, "directory": "/etc", "id": "../../etc"}
    assert decode_job(JOB.id, fields, ROOT) == JOB


def test_members_with_a_default_and_fields_of_the_queues_own_may_differ() -> None:
    request = '{"slide_id": "s", "slide_name": "n", "slide_path": "p", "model": "m"}'
    fields = {**RECORD, "request": request, "progress": "{}", "patches_done": "3", "crashes_at": "2"}
    job = decode_job(JOB.id, fields, ROOT)
    assert (job.request, job.progress) == (JobRequest("s", "n", "p", "m"), Progress())
    assert job.request.parameters == JobParameters(None, None, None, tissue=True)


def edited(field: str, change: Callable[[dict], object]) -> dict[str, str]:
    """The record with the JSON in a field changed."""
    members = json.loads(RECORD[field])
    change(members)
    return {**RECORD, field: json.dumps(members)}


@pytest.mark.parametrize(
    "fields",
    [
        {name: value for name, value in RECORD.items() if name != "request"},
        {**RECORD, "state": "lost"},
        {**RECORD, "attempt": "two"},
        {**RECORD, "request": "{"},
        {**RECORD, "error": "null"},
        edited("request", lambda members: members.pop("model")),
        edited("request", lambda members: members.update(priority="highest")),
        edited("request", lambda members: members["parameters"].update(mpp="0.25")),
        edited("request", lambda members: members["parameters"].update(mpp=float("nan"))),
        edited("request", lambda members: members["parameters"].update(mpp=-1.0)),
        edited("progress", lambda members: members.update(fraction=1.5)),
        edited("progress", lambda members: members.update(patches_done=10**400)),
        {**RECORD, "created_at": "1e300"},
        {**RECORD, "created_at": "nan"},
        {**RECORD, "attempt": "-1"},
        {**RECORD, "revision": "9" * 5000},
        edited("progress", lambda members: members.update(patches_done="3")),
        edited("error", lambda members: members.pop("detail")),
    ],
)
def test_a_bad_record_is_refused_by_its_id(fields: dict[str, str]) -> None:
    with pytest.raises(RecordInvalidError, match="cannot be read"):
        decode_job(JOB.id, fields, ROOT)


def test_a_record_that_cannot_be_read_is_a_failed_job_that_says_why_and_hides_no_other(queue: Queue) -> None:
    broken, whole = submit(queue), submit(queue)
    queue.redis.hset(f"darefine:job:{broken.id}", "progress", '{"fraction": "half"}')
    shown = queue.client.get(broken.id)
    assert (shown.state, shown.directory) == (JobState.FAILED, broken.directory)
    assert shown.error is not None
    assert shown.error.type == "record-invalid"
    assert "fraction" in shown.error.detail
    assert set(queue.client.list()[0]) == {shown, whole}
    queue.client.delete(broken.id)
    assert queue.client.list()[0] == (whole,)


def test_a_request_that_nobody_could_read_is_not_recorded(queue: Queue) -> None:
    with pytest.raises(RecordInvalidError):
        queue.client.submit(replace(REQUEST, slide_path="/slides/\udc80.svs"))
    assert queue.client.list() == ((), None)
    assert queue.lists.listed() == set()


def test_a_problem_with_a_name_that_is_not_unicode_can_be_read(queue: Queue) -> None:
    job = running(queue)
    assert queue.lease.fail(job.id, 1, Problem("slide-unreadable", "Not a slide", "\udc80.svs is damaged"))
    error = queue.client.get(job.id).error
    assert error is not None
    assert error.detail == "?.svs is damaged"


def test_many_records_come_in_the_order_asked_for_without_those_that_are_gone(queue: Queue) -> None:
    one, two = submit(queue), submit(queue)
    records = JobRecords(queue.redis, Path(one.directory).parent)
    assert records.get_many([two.id, "nobody", "0" * 24, one.id]) == (two, one)
    with pytest.raises(JobNotFoundError):
        records.get("nobody")
