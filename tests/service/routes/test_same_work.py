"""The same slide, weights and parameters give the finished result; clients may prefer to wait for one."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from workers.jobs import JobState, Progress

from ..conftest import CARD, Api, post_slide, write_slide


@pytest.fixture
def done(api: Api, tmp_path: Path) -> dict[str, Any]:
    """A job that has succeeded, on a slide of its own."""
    slide = write_slide(tmp_path / "same.tif", seed=time.time_ns() % 10**9)
    job: dict[str, Any] = post_slide(api, slide).json()
    finish(api, job["id"])
    return job


def finish(api: Api, job_id: str) -> None:
    api.lease.start(job_id, 1, "tester")
    folder = api.data_dir / "jobs" / job_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text("{}")
    api.lease.succeed(job_id, 1, Progress(fraction=1.0))


def test_what_was_done_before_is_the_answer(api: Api, done: dict[str, Any]) -> None:
    asked = {"slide_id": done["slide"]["id"]}
    again = api.http.post("/v1/jobs", json=asked, headers={"Idempotency-Key": f"again {done['id']}"})
    assert (again.status_code, again.json()["id"], again.json()["state"]) == (200, done["id"], "succeeded")
    assert again.headers["location"] == done["links"]["self"]
    assert api.http.post("/v1/jobs", json={**asked, "priority": "high"}).json()["id"] == done["id"]
    forced = api.http.post("/v1/jobs", json={**asked, "force": True})
    assert (forced.status_code, forced.json()["state"]) == (202, "queued")


@pytest.mark.parametrize(
    "changes", [{"mpp": 0.4}, {"tissue": False}, {"outputs": ["preview"]}, {"halo_px": 32}]
)
def test_other_parameters_are_other_work(api: Api, done: dict[str, Any], changes: dict[str, Any]) -> None:
    job = api.http.post("/v1/jobs", json={"slide_id": done["slide"]["id"], **changes})
    assert (job.status_code, job.json()["state"]) == (202, "queued")


def test_other_weights_of_the_same_name_are_other_work(api: Api, done: dict[str, Any]) -> None:
    trained_again = {**CARD, "weights": {**CARD["weights"], "sha256": "cd" * 32}}
    api.registry.publish_models("stand-in", (json.dumps(trained_again),))
    try:
        assert api.http.post("/v1/jobs", json={"slide_id": done["slide"]["id"]}).status_code == 202
    finally:
        api.registry.publish_models("stand-in", (json.dumps(CARD),))


def test_a_deleted_result_is_computed_again(api: Api, done: dict[str, Any]) -> None:
    api.http.delete(done["links"]["self"])
    assert api.http.post("/v1/jobs", json={"slide_id": done["slide"]["id"]}).status_code == 202


def test_a_client_may_prefer_to_wait(api: Api, tmp_path: Path) -> None:
    job = post_slide(api, write_slide(tmp_path / "awaited.tif", seed=771)).json()
    at_once = api.http.get(job["links"]["self"], headers={"Prefer": "respond-async, wait=0"})
    assert (at_once.json()["state"], at_once.headers["preference-applied"]) == ("queued", "wait=0")
    timer = threading.Timer(0.3, finish, (api, job["id"]))
    timer.start()
    waited = api.http.get(job["links"]["self"], headers={"Prefer": "wait=9999"})
    assert (waited.json()["state"], waited.headers["preference-applied"]) == (JobState.SUCCEEDED, "wait=60")
    assert "retry-after" not in waited.headers
    timer.join()
    posted = api.http.post(
        "/v1/jobs", json={"slide_id": job["slide"]["id"], "force": True}, headers={"Prefer": "wait=1"}
    )
    assert (posted.status_code, posted.json()["state"]) == (202, "queued")
    assert posted.headers["preference-applied"] == "wait=1"


def test_who_heard_the_last_event_hears_nothing_more(api: Api, done: dict[str, Any]) -> None:
    url = f"{done['links']['self']}/events"
    told = api.http.get(url)
    last = told.text.rsplit("id: ", 1)[1].strip()
    assert told.text.count("event: job") == 1
    assert api.http.get(url, headers={"Last-Event-ID": last}).status_code == 204
    assert api.http.get(url, headers={"Last-Event-ID": last.removesuffix("-over")}).status_code == 200
