"""Server-sent events of a job: what is told, in which order, and that streams end."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from workers.jobs import Progress

from ..conftest import Api, api_process, assert_problem, post_slide, write_slide
from .test_label_tiles import RunningJob

Event = tuple[str, Any, str]


def events_of(lines: Iterator[str]) -> Iterator[Event]:
    """(event, data, id) of a stream, as a browser takes them."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield fields["event"], json.loads(fields["data"]), fields["id"]
            fields = {}


@contextmanager
def listening(http: httpx.Client, url: str, last_event_id: str | None = None) -> Iterator[Iterator[Event]]:
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    with http.stream("GET", url, headers=headers, timeout=60) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield events_of(answer.iter_lines())


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of these tests alone: their jobs never end."""
    return write_slide(tmp_path_factory.mktemp("slides") / "own.tif", seed=42)


@pytest.fixture
def job(api: Api, slide: Path) -> RunningJob:
    return RunningJob(api, slide)


@pytest.fixture
def url(job: RunningJob) -> str:
    links: dict[str, str] = job.api.http.get(f"/v1/jobs/{job.id}").json()["links"]
    return links["events"]


@pytest.mark.slow
def test_a_job_is_told_from_its_plan_to_its_end(api: Api, job: RunningJob, url: str) -> None:
    with listening(api.http, url) as events:
        kind, data, _ = next(events)
        assert (kind, data) == ("job", api.http.get(f"/v1/jobs/{job.id}").json())
        job.plan()
        assert next(events)[:2] == ("patches", {"version": job.tiles()["version"], "patches": []})
        job.write(4)
        assert next(events)[1]["patches"] == [4]
        job.write(2)
        kind, data, _ = next(events)
        assert (kind, data["patches"]) == ("patches", [2])
        assert data["version"] == job.tiles()["version"], "tiles of this version show the patch"
        assert job.tile(0, 4, 0, v=data["version"]).any()
        api.lease.heartbeat(job.id, 1, Progress(0.5, "segment", 2, 6))
        kind, data, _ = next(events)
        assert (kind, data["progress"]["patches_done"]) == ("job", 2)
        job.write_pyramids()
        assert next(events)[1]["patches"] == [0, 1, 3, 5], "all that were planned are there now"
        api.lease.succeed(job.id, 1)
        kind, data, _ = next(events)
        assert (kind, data["state"]) == ("job", "succeeded")
        assert next(events, None) is None, "the stream ends"


def test_a_listener_that_comes_back_is_not_told_again(api: Api, job: RunningJob, url: str) -> None:
    job.plan()
    job.write(3)
    job.write(1)
    with listening(api.http, url) as events:
        assert next(events)[0] == "job"
        _, data, last_id = next(events)
        assert data["patches"] == [3, 1], "the first event has all stored so far"
    job.write(5)
    with listening(api.http, url, last_id) as events:
        assert next(events)[0] == "job"
        _, data, last_id = next(events)
        assert data["patches"] == [5]
    with listening(api.http, url, last_id) as events:
        next(events)
        assert next(events)[1]["patches"] == []
    job.plan()
    with listening(api.http, url, last_id) as events:
        next(events)
        assert next(events)[1]["patches"] == [3, 1, 5], "planned anew, all is told anew"


@pytest.mark.parametrize("last_event_id", ["nonsense", "-", "a-b-c", "1-9" * 50, "%00", f"a-{'9' * 5000}-1"])
def test_a_senseless_last_id_is_as_good_as_none(
    api: Api, job: RunningJob, url: str, last_event_id: str
) -> None:
    job.plan()
    job.write(3)
    with listening(api.http, url, last_event_id) as events:
        assert next(events)[0] == "job"
        assert next(events)[1]["patches"] == [3]


def test_a_job_that_is_over_is_told_and_the_stream_ends(api: Api, slide: Path) -> None:
    job = post_slide(api, slide).json()
    api.http.post(job["links"]["cancel"])
    with listening(api.http, job["links"]["events"]) as events:
        assert [(kind, data["state"]) for kind, data, _ in events] == [("job", "cancelled")]


def test_a_deleted_job_ends_the_stream(api: Api, slide: Path) -> None:
    job = post_slide(api, slide).json()
    with listening(api.http, job["links"]["events"]) as events:
        assert next(events)[1]["queue_position"] is not None
        api.http.delete(job["links"]["self"])
        assert [kind for kind, _, _ in events] in (["job"], [])


def test_no_stream_of_an_unknown_job(api: Api) -> None:
    assert_problem(api.http.get("/v1/jobs/none/events"), 404, "job-not-found")


def test_many_listeners_cost_one_look_at_a_time(
    api: Api, job: RunningJob, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.plan()
    looks: list[float] = []
    scandir = os.scandir

    def counted(path: Any) -> Any:
        if Path(path) == job.folder / "patches":
            looks.append(time.monotonic())
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)
    ready = threading.Barrier(9)

    def listen() -> list[int]:
        with listening(api.http, url) as events:
            next(events)
            next(events)
            ready.wait(60)
            return list(next(events)[1]["patches"])

    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(listen) for _ in range(8)]
        ready.wait(60)
        time.sleep(1.2)
        job.write(0)
        assert [call.result(10) for call in calls] == [[0]] * 8
    assert min(b - a for a, b in pairwise(looks)) > 0.4


@pytest.mark.slow
def test_open_streams_do_not_hold_up_the_end(api: Api, job: RunningJob, url: str) -> None:
    job.plan()
    with (
        api_process(api.data_dir, api.queue_url) as (server, http),
        listening(http, url) as events,
    ):
        assert next(events)[0] == "job"
        server.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert [kind for kind, _, _ in events] in ([], ["patches"]), "the stream ends, and is not cut off"
        server.wait(4)
        assert time.monotonic() - started < 4
