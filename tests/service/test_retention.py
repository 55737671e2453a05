"""What is removed by age and beyond quotas; a dry run removes nothing."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

import service.retention
from service.retention import Retention, RetentionRules
from service.settings import ServiceSettings
from service.slides.store import SlideStore
from workers.jobs import JobRequest, Progress
from workers.queue.client import JobClient
from workers.queue.connection import connect
from workers.queue.lease import JobLease
from workers.supervisor.valkey import EmbeddedValkey
from wsi.reading.slide import open_slide

from .conftest import Api, assert_problem, write_slide

DAY_S = 86_400


@dataclass(frozen=True)
class House:
    """Slides and jobs of some ages."""

    redis: Redis
    queue: JobClient
    lease: JobLease
    slides: SlideStore
    root: Path

    def slide(self, name: str, *, days: float) -> str:
        path = write_slide(self.root / name, seed=len(name) + ord(name[0]), side_px=256)
        with self.slides.upload(None) as upload:
            upload.name = name
            upload.write(path.read_bytes())
            slide = self.slides.commit(upload)
        record = self.root / "slides" / slide.id / "slide.json"
        record.write_text(
            json.dumps({**json.loads(record.read_text()), "created_at": time.time() - days * DAY_S})
        )
        return slide.id

    def job(self, slide_id: str, *, days: float | None, kilobytes: int = 1) -> str:
        request = JobRequest(slide_id=slide_id, slide_name="a", slide_path="", model="m")
        job = self.queue.submit(request)
        if days is not None:
            self.lease.start(job.id, 1, "tester")
            self.lease.succeed(job.id, 1, Progress(fraction=1.0))
            self.redis.hset(f"darefine:job:{job.id}", "finished_at", str(time.time() - days * DAY_S))
        job.files.directory.mkdir(parents=True)
        job.files.labels.write_bytes(bytes(1000 * kilobytes))
        return job.id

    def going(self, **rules: float) -> tuple[list[str], list[str]]:
        jobs, slides = self.retention(**rules).find(RetentionRules(**rules))
        return [one.id for one in jobs], [one.id for one in slides]

    def retention(self, **rules: float) -> Retention:
        return Retention(self.queue, self.slides, RetentionRules(**rules))


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    valkey = EmbeddedValkey(tmp_path_factory.mktemp("queue"))
    valkey.start()
    yield valkey
    valkey.stop()


@pytest.fixture
def house(valkey: EmbeddedValkey, tmp_path: Path) -> Iterator[House]:
    with connect(valkey.url) as redis:
        redis.flushall()

        def inspect(path: Path) -> Any:
            with open_slide(path) as slide:
                return slide.info

        slides = SlideStore(tmp_path / "slides", allowed=(), max_bytes=10**7, inspect=inspect)
        jobs = tmp_path / "jobs"
        yield House(redis, JobClient(redis, jobs), JobLease(redis, jobs), slides, tmp_path)


def test_by_age(house: House) -> None:
    old, used, needed = (house.slide(f"{name}.tif", days=9) for name in "abc")
    new = house.slide("d.tif", days=1)
    past, recent = house.job(old, days=8), house.job(used, days=2)
    house.job(needed, days=None)
    assert house.going(results_days=5) == ([past], [])
    assert house.going(slides_days=5) == ([], [old]), "others were used since, are needed, or are new"
    assert house.going(slides_days=0.5) == ([], [old, used, new])
    assert house.going(results_days=1) == ([past, recent], [])
    assert house.going() == ([], [])


def test_a_job_whose_record_cannot_be_read_stays(house: House) -> None:
    job = house.job(house.slide("a.tif", days=9), days=8)
    house.redis.hset(f"darefine:job:{job}", "request", "of a later version")
    assert house.going(results_days=1, results_bytes=0)[0] == []


def test_beyond_a_quota_the_oldest_go(house: House) -> None:
    slide = house.slide("a.tif", days=1)
    first, second, third = (house.job(slide, days=days, kilobytes=10) for days in (3, 2, 1))
    waiting = house.job(slide, days=None, kilobytes=10)
    assert house.going(results_bytes=20_000)[0] == [first]
    assert house.going(results_bytes=19_999)[0] == [first, second]
    assert house.going(results_bytes=0)[0] == [first, second, third]
    assert waiting not in house.going(results_bytes=0)[0]


def test_slides_of_the_same_bytes_count_once(house: House) -> None:
    one = house.slide("a.tif", days=9)
    content = next((house.root / "slides" / one / "content").iterdir()).read_bytes()
    with house.slides.upload(None) as upload:
        upload.name = "same.tif"
        upload.write(content)
        other = house.slides.commit(upload).id
    size = len(content)
    assert house.going(slides_bytes=size) == ([], [])
    jobs, slides = house.retention().find(RetentionRules(slides_bytes=size - 1))
    assert [(slide.id, slide.bytes) for slide in slides] == [(one, 0), (other, size)]
    assert jobs == []


def test_the_service_removes_by_itself(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    slide = house.slide("a.tif", days=9)
    past = house.job(slide, days=8)
    keeping = house.retention()
    keeping.sweep()
    assert house.queue.get(past)
    retention = house.retention(results_days=5, slides_days=5)
    retention.sweep()
    assert house.queue.get_many([past]) == ()
    assert not (house.root / "jobs" / past).exists()
    assert house.slides.list() == []
    again = house.job(slide, days=8)
    retention.sweep()
    assert house.queue.get(again), "not before an hour has passed"
    monkeypatch.setattr(service.retention, "EVERY_S", 0.0)
    retention = house.retention(results_days=5)
    retention.sweep()
    assert house.queue.get_many([again]) == ()


def test_rules_come_from_settings(tmp_path: Path) -> None:
    settings = ServiceSettings(data_dir=tmp_path, keep_results_days=90, max_slides_gb=2)
    assert RetentionRules.of(settings) == RetentionRules(results_days=90, slides_bytes=2e9)
    assert RetentionRules.of(ServiceSettings(data_dir=tmp_path)).keep_all


def test_a_dry_run_says_what_would_go(api: Api, tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "dry.tif", seed=4711)
    with slide.open("rb") as file:
        job = api.http.post("/v1/jobs", files={"slide": ("dry.tif", file)}).json()
    api.lease.start(job["id"], 1, "tester")
    api.lease.succeed(job["id"], 1, Progress(fraction=1.0))
    asked = {"results_days": 1e-9}
    said = api.http.post("/v1/prune", json=asked).json()
    assert said["dry_run"] is True
    assert job["id"] in {one["id"] for one in said["jobs"]}
    assert said["slide_count"] == 0
    assert api.http.get(job["links"]["self"]).status_code == 200
    assert_problem(api.http.post("/v1/prune", json={"results_days": 0}), 422, "request-invalid")
    assert_problem(api.http.post("/v1/prune", json={"days": 3}), 422, "request-invalid")
