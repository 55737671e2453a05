"""Records that somebody else wrote: no other folder is touched, and nothing is worse than a failed job.

Hypothesis overwrites fields of real records in a real Valkey; then everything that reads them is called: the
API over HTTP, the worker's side, the prefetcher, the reconciler.
"""

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from tests.service.conftest import CARD
from workers.identity import LabelIdentity
from workers.jobs import Job, JobRequest, Problem, Progress
from workers.queue.reconciler import Reconciler
from workers.queue.rq_lists import QUEUES
from workers.queue.webhooks import WebhookStore
from workers.webhooks import Webhook

from .conftest import REQUEST
from .untrusted import PATHS, Readers, changed, json_changes, outside, reading, texts

PROBLEM = Problem("x", "Broken", "It broke.")


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readers]:
    """One server, one API, one slide."""
    with reading(tmp_path_factory.mktemp("untrusted")) as readers:
        yield readers


@pytest.fixture(autouse=True)
def _taken(readers: Readers) -> None:
    """Take the entries of jobs that are over out of RQ's lists, as workers do: here is none that would."""
    readers.queue.redis.delete(*(f"rq:queue:{name}" for name in QUEUES.values()))


MEMBERS = {"request": JobRequest, "progress": Progress, "error": Problem, "identity": LabelIdentity}
"""Fields of a record that are JSON, and of what."""


@pytest.fixture(scope="module")
def names(readers: Readers) -> list[str]:
    """The fields of a record: those of a job, and what the queue writes beside them in a whole life."""
    queue = readers.queue
    job = queue.client.submit(replace(REQUEST, model_sha256="ab" * 32), work="w", lane="l")
    identity = LabelIdentity({}, {}, {}, "cpu", "float32", "torch", "0")
    assert queue.lease.start(job.id, 1, "w")
    queue.lease.pin(job.id, 1, identity)
    assert queue.lease.retry(job.id, 1, "w", PROBLEM, Progress(patches_done=1)) == 2
    queue.redis.zadd("darefine:leases", {job.id: 0})
    assert Reconciler(queue.redis, lost_after_s=1).reap(job.id, PROBLEM)
    assert queue.lease.start(job.id, 3, "w")
    queue.client.cancel(job.id)
    assert queue.lease.fail(job.id, 3, PROBLEM)
    written = {name.decode() for name in queue.redis.hkeys(f"darefine:job:{job.id}")}
    assert {"identity", "losses_at", "crashes_at", "cancel_requested", "work", "lane"} <= written
    queue.client.delete(job.id)
    return sorted({field.name for field in fields(Job)} | written)


def changes(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Fields to overwrite: with text, or members of their JSON."""
    inside = [st.fixed_dictionaries({field: json_changes(kind)}) for field, kind in MEMBERS.items()]
    return st.one_of(st.dictionaries(st.sampled_from(names), texts, min_size=1, max_size=2), *inside)


def overwrite(readers: Readers, job: Job, new: dict[str, Any]) -> None:
    """Write fields over those of the job's record, as somebody with a connection to Redis could."""
    key = f"darefine:job:{job.id}"
    for field, value in new.items():
        text = value
        if isinstance(value, dict):
            before = json.loads(readers.queue.redis.hget(key, field) or "{}")
            text = json.dumps(changed(before, value))
        readers.queue.redis.hset(key, field, readers.encoded(text))


def assert_harmless(readers: Readers, new: dict[str, Any]) -> None:
    """Overwrite fields of a new job's record, have all read it, delete the job, and look at the traces."""
    job = readers.bench.submit(slide_path=str(readers.slide))
    overwrite(readers, job, new)
    with readers.watch.watching() as paths:
        sent = readers.read_all(job)
        assert readers.http.delete(f"/v1/jobs/{job.id}").status_code == 204
    assert outside(paths, readers) == []
    for run in sent:
        assert run.directory == job.directory
        assert run.slide_path == str(readers.slide), "the slide of the id, or none"
    assert readers.http.get(f"/v1/jobs/{job.id}").status_code == 404
    assert not Path(job.directory).exists()
    assert readers.slide.read_bytes() == b"pixels"


@pytest.mark.parametrize("path", PATHS)
def test_no_record_makes_api_or_worker_touch_another_folder(readers: Readers, path: str) -> None:
    for new in (
        {"directory": path},
        {"id": path, "worker": path},
        *({"request": {(field.name,): path}} for field in fields(JobRequest)),
    ):
        assert_harmless(readers, new)


fuzz = budget(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@budget(fuzz, max_examples=60)
@given(data=st.data())
def test_any_field_may_be_anything(readers: Readers, names: list[str], data: st.DataObject) -> None:
    assert_harmless(readers, data.draw(changes(names)))


@pytest.mark.slow
@budget(fuzz, max_examples=300)
@given(data=st.data())
def test_many_records_written_by_others(readers: Readers, names: list[str], data: st.DataObject) -> None:
    assert_harmless(readers, data.draw(changes(names)))


@pytest.mark.parametrize(
    "new",
    [
        {"request": "{"},
        {"request": {("slide_id",): "../../../etc"}},
        {"request": {("slide_id",): "0" * 24}},
        {"request": {("parameters", "mpp"): -1}},
        {"attempt": "one"},
        {"attempt": "9" * 5000},
        {"progress": {("fraction",): 2}},
        {"created_at": "1e300"},
    ],
    ids=str,
)
def test_what_could_never_run_fails_and_says_why(readers: Readers, new: dict[str, Any]) -> None:
    job = readers.bench.submit(slide_path=str(readers.slide))
    overwrite(readers, job, new)
    assert readers.read_all(job) == []
    failed = readers.http.get(f"/v1/jobs/{job.id}").json()
    assert failed["state"] == "failed"
    assert failed["error"]["type"] in ("record-invalid", "slide-unreadable")
    assert readers.queue.redis.hget(f"darefine:job:{job.id}", "state") == b"failed", "for good"


@pytest.mark.parametrize("polygons", ["nonsense", "[" * 100_000, '{"unit": [], "polygons": 1}'])
def test_polygons_that_cannot_be_read_hide_no_job(readers: Readers, polygons: str) -> None:
    good, bad = (readers.bench.submit(slide_path=str(readers.slide)) for _ in range(2))
    overwrite(readers, bad, {"request": {("parameters", "regions"): polygons}})
    found = {one["id"]: one for one in readers.http.get("/v1/jobs?limit=200").json()["jobs"]}
    assert {good.id, bad.id} <= set(found)
    assert "regions" not in found[bad.id]["parameters"]
    assert [run.parameters.regions for run in readers.read_all(bad)] == [polygons], "the engine refuses it"


def test_keys_and_lists_that_hold_nonsense_hide_no_job(readers: Readers) -> None:
    redis, job = readers.queue.redis, readers.bench.submit(slide_path=str(readers.slide))
    for nonsense in ("../../etc", b"\xff\xfe", "", "x" * 24):
        for key in ("darefine:jobs", "darefine:jobs:queued", "darefine:leases", "darefine:missing"):
            redis.zadd(key, {nonsense: 0})
        redis.rpush("rq:queue:darefine", nonsense)
        redis.sadd("darefine:workers", nonsense)
    for key in ("darefine:last-tick", "darefine:settling", "darefine:models"):
        redis.set(key, "nonsense")
    assert job.id in [listed["id"] for listed in readers.http.get("/v1/jobs?limit=200").json()["jobs"]]
    assert readers.read_all(job)[0].job_id == job.id
    readers.queue.registry.publish_models("stand-in", (json.dumps(CARD),))


def test_batches_and_webhooks_that_hold_nonsense_hide_no_others(readers: Readers) -> None:
    redis, http, one = readers.queue.redis, readers.http, "0" * 24
    webhooks = WebhookStore(redis)
    webhooks.add(Webhook("whole", "https://example.org/told", (), "secret", 0.0))
    for nonsense in ("../../etc", b"\xff\xfe", "", one):
        redis.zadd("darefine:batches", {nonsense: 0})
    redis.hset(f"darefine:batch:{one}", mapping={"name": "no more than that"})
    for encoded in ("{", b"\xff", "[]"):
        redis.hset("darefine:webhooks", "bad", encoded)
        redis.hset("darefine:webhooks:last", "whole", encoded)
        redis.rpush("darefine:happened", encoded)
        for path in ("batches", f"batches/{one}", "webhooks", "webhooks/bad", "webhooks/whole"):
            assert http.get(f"/v1/{path}").status_code in (200, 404), path
    assert http.get("/v1/batches").json()["batches"] == []
    assert [listed["id"] for listed in http.get("/v1/webhooks").json()["webhooks"]] == ["whole"]
    assert webhooks.happened() == ()
    assert redis.llen("darefine:happened") == 0
    for one in ("whole", "bad"):
        assert http.delete(f"/v1/webhooks/{one}").status_code == 204


@pytest.mark.parametrize(
    "arguments", [("../../etc", 1), (["x"], 1), ("0" * 24, "1"), ("0" * 24, None), (None, True)]
)
def test_a_worker_takes_nothing_but_an_id_and_a_number(readers: Readers, arguments: tuple[Any, Any]) -> None:
    assert readers.queue.lease.start(*arguments, "w") is None
