"""Batches over a real API and queue; a stand-in worker ends their jobs."""

import csv
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workers.jobs import Problem, Progress

from ..conftest import Api, assert_problem, write_slide

RESULT = {
    "classes": [{"name": "normal", "area_mm2": 1.5, "fraction": 0.75}],
    "mpp": {"slide": 0.5, "source": "vendor"},
    "warnings": [{"code": "blurred", "words": "It is."}],
    "model": {"sha256": "ab" * 32},
}


@pytest.fixture
def folder(api: Api, tmp_path: Path) -> Path:
    """A folder under the allowed ones."""
    folder = api.slide_root / tmp_path.name
    folder.mkdir()
    return folder


def write_slides(folder: Path, count: int) -> list[Path]:
    seeds = (time.time_ns() % 10**8 + n for n in range(count))
    return [write_slide(folder / f"{n}.tif", seed=seed, side_px=256) for n, seed in enumerate(seeds)]


def post(api: Api, **body: Any) -> dict[str, Any]:
    answer = api.http.post("/v1/batches", json=body)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == answer.json()["links"]["self"]
    batch: dict[str, Any] = answer.json()
    return batch


def until(api: Api, batch: dict[str, Any], holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The batch once `holds` holds."""
    deadline = time.monotonic() + 30
    while True:
        found: dict[str, Any] = api.http.get(batch["links"]["self"]).json()
        if holds(found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def rows(api: Api, batch: dict[str, Any]) -> list[dict[str, str]]:
    answer = api.http.get(batch["links"]["slides"])
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.text)))


def finish(api: Api, job_id: str) -> None:
    folder = api.data_dir / "jobs" / job_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(RESULT))
    assert api.lease.start(job_id, 1, "tester")
    assert api.lease.succeed(job_id, 1, Progress(fraction=1.0))


def finish_all(api: Api, batch: dict[str, Any]) -> dict[str, Any]:
    """Be the worker of a batch until it is over."""

    def work(found: dict[str, Any]) -> bool:
        for row in rows(api, batch):
            if row["state"] == "queued":
                finish(api, row["job_id"])
        return found["state"] == "finished"

    return until(api, batch, work)


@pytest.mark.slow
def test_a_folder_becomes_jobs_a_few_at_a_time_and_a_table(api: Api, folder: Path) -> None:
    slides = write_slides(folder, 5)
    (folder / "5.tif").write_bytes(b"no slide")
    (folder / "notes.txt").write_text("none either")
    batch = post(api, folder=str(folder), name="cohort", mpp=0.5)
    assert (batch["state"], batch["name"], batch["model"]) == ("running", "cohort", "stand-in")
    assert batch["parameters"]["mpp"] == 0.5
    assert batch["slides"] == {
        "total": 6, "waiting": 6, "queued": 0, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 0,
    }  # fmt: skip
    begun = until(api, batch, lambda found: found["slides"]["queued"] == 2)
    assert begun["slides"]["waiting"] == 4, "no worker lives, so two are enough"
    over = finish_all(api, batch)
    assert over["slides"] | {"total": 6} == {
        "total": 6, "waiting": 0, "queued": 0, "running": 0, "succeeded": 5, "failed": 1, "cancelled": 0,
    }  # fmt: skip
    assert over["finished_at"] is not None
    assert set(over["links"]) == {"self", "slides"}
    table = rows(api, batch)
    assert [row["path"] for row in table] == [*map(str, slides), str(folder / "5.tif")]
    assert (table[0]["normal mm2"], table[0]["warnings"], table[0]["mpp_source"]) == (
        "1.5",
        "blurred",
        "vendor",
    )
    assert (table[5]["state"], table[5]["job_id"]) == ("failed", "")
    assert "5.tif is no slide" in table[5]["error"]
    again = until(api, post(api, folder=str(folder), mpp=0.5), lambda found: found["state"] == "finished")
    assert again["slides"]["succeeded"] == 5, "what was done before is not computed again"
    assert [row["job_id"] for row in rows(api, again)] == [row["job_id"] for row in table]


@pytest.mark.slow
def test_pause_resume_and_cancel(api: Api, folder: Path) -> None:
    batch = post(api, slides=[str(path) for path in write_slides(folder, 6)])
    until(api, batch, lambda found: found["slides"]["queued"] == 2)
    paused = api.http.post(batch["links"]["pause"]).json()
    assert (paused["state"], "resume" in paused["links"]) == ("paused", True)
    assert api.http.post(batch["links"]["pause"]).json()["state"] == "paused"
    for row in rows(api, batch):
        if row["state"] == "queued":
            finish(api, row["job_id"])
    until(api, batch, lambda found: found["slides"]["succeeded"] == 2)
    time.sleep(1.2)
    assert api.http.get(batch["links"]["self"]).json()["slides"]["waiting"] == 4
    assert api.http.post(paused["links"]["resume"]).json()["state"] == "running"
    until(api, batch, lambda found: found["slides"]["queued"] == 2)
    cancelled = api.http.post(batch["links"]["cancel"])
    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
    assert cancelled.json()["slides"] == {
        "total": 6, "waiting": 0, "queued": 0, "running": 0, "succeeded": 2, "failed": 0, "cancelled": 4,
    }  # fmt: skip
    assert_problem(api.http.post(paused["links"]["resume"]), 409, "batch-final")
    assert api.http.delete(batch["links"]["self"]).status_code == 204
    assert_problem(api.http.get(batch["links"]["self"]), 404, "batch-not-found")


@pytest.mark.slow
def test_a_csv_may_say_the_pixel_size_of_each_slide(api: Api, folder: Path) -> None:
    one, two = write_slides(folder, 2)
    uploaded = api.http.put("/v1/slides", params={"filename": "up.tif"}, content=one.read_bytes()).json()
    table = f"case,slide,mpp\n1,{uploaded['id']},0.4\n\n2, {two} ,\n"
    batch = post(api, csv=table, priority="high", mpp=0.6)
    until(api, batch, lambda found: found["slides"]["queued"] == 2)
    jobs = [api.http.get(f"/v1/jobs/{row['job_id']}").json() for row in rows(api, batch)]
    assert [job["parameters"]["mpp"] for job in jobs] == [0.4, 0.6]
    assert {job["parameters"]["priority"] for job in jobs} == {"high"}
    assert jobs[0]["slide"]["id"] == uploaded["id"]
    api.http.post(batch["links"]["cancel"])


@pytest.mark.parametrize(
    ("body", "status", "kind", "said"),
    [
        ({}, 422, "request-invalid", "one of slides, folder and csv"),
        ({"slides": ["a.svs"], "csv": "a.svs"}, 422, "request-invalid", "one of slides, folder and csv"),
        ({"slides": []}, 422, "request-invalid", "at least 1"),
        ({"slides": [{"uri": "a", "slide_id": "0" * 24}]}, 422, "request-invalid", "either slide_id or uri"),
        ({"slides": ["a.svs"], "mmp": 1}, 422, "request-invalid", "mmp"),
        ({"slides": ["a.svs"], "model": "other"}, 422, "model-unknown", "stand-in"),
        ({"slides": ["a.svs"], "regions": {"unit": "px", "rectangles": [
            {"x": 0, "y": 0, "width": 9, "height": 9}]}}, 422, "request-invalid", "one slide"),
        ({"folder": "/etc"}, 403, "root-not-allowed", "/etc"),
        ({"csv": "slide,mpp\na.svs,many\n"}, 422, "request-invalid", "Line 2"),
        ({"csv": "slide,mpp\n,0.5\n"}, 422, "request-invalid", "names no slide"),
        ({"csv": "\n"}, 422, "request-invalid", "no slide"),
    ],
)  # fmt: skip
def test_refused(api: Api, body: dict[str, Any], status: int, kind: str, said: str) -> None:
    assert said in assert_problem(api.http.post("/v1/batches", json=body), status, kind)


def test_a_folder_without_slides(api: Api, folder: Path) -> None:
    answer = api.http.post("/v1/batches", json={"folder": str(folder)})
    assert "no slide" in assert_problem(answer, 422, "request-invalid")
    answer = api.http.post("/v1/batches", json={"folder": str(folder / "none")})
    assert "cannot be listed" in assert_problem(answer, 422, "request-invalid")


def test_listed_newest_first_and_made_once_under_a_key(api: Api) -> None:
    def send(name: str) -> str:
        body = {"slides": ["/nowhere/a.svs"], "name": name}
        batch: dict[str, Any] = api.http.post(
            "/v1/batches", json=body, headers={"Idempotency-Key": "b"}
        ).json()
        return str(batch["id"])

    ids = [send(name) for name in ("x", "y", "x")]
    assert ids[0] == ids[2] != ids[1]
    page = api.http.get("/v1/batches", params={"limit": 1}).json()
    assert [one["id"] for one in page["batches"]] == [ids[1]]
    following = api.http.get("/v1/batches", params={"limit": 1, "cursor": page["next_cursor"]}).json()
    assert [one["id"] for one in following["batches"]] == [ids[0]]


@pytest.mark.slow
def test_a_failed_job_and_a_deleted_one_are_over(api: Api, folder: Path) -> None:
    batch = post(api, slides=[str(path) for path in write_slides(folder, 2)])
    until(api, batch, lambda found: found["slides"]["queued"] == 2)
    failed, deleted = (row["job_id"] for row in rows(api, batch))
    api.lease.start(failed, 1, "tester")
    api.lease.fail(failed, 1, Problem("slide-unreadable", "Slide unreadable", "tile 7 is damaged"))
    api.http.delete(f"/v1/jobs/{deleted}")
    over = until(api, batch, lambda found: found["state"] == "finished")
    assert (over["slides"]["failed"], over["slides"]["cancelled"]) == (1, 1)
    assert [(row["state"], row["error"]) for row in rows(api, batch)] == [
        ("failed", "tile 7 is damaged"),
        ("deleted", ""),
    ]
