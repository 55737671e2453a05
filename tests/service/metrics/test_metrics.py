"""/metrics: requests by route, the state of the fleet, and what workers counted."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from tests.service.conftest import Api, assert_problem
from workers.jobs import JobParameters, JobRequest, new_job
from workers.queue.connection import connect
from workers.queue.registry import WorkerInfo, WorkerState
from workers.queue.tallies import JOB_SECONDS, METRICS, RESTARTS, TALLIES, Tallies
from workers.rq_worker.job_tally import job_additions

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def redis(api: Api) -> Iterator[Redis]:
    """The queue server, its sums emptied."""
    with connect(api.queue_url) as redis:
        redis.delete(TALLIES)
        yield redis
        redis.delete(TALLIES)


def scrape(api: Api) -> Samples:
    """All samples by name and labels."""
    families = text_string_to_metric_families(api.http.get("/metrics").text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def test_requests_are_counted_by_route_not_by_path(api: Api) -> None:
    labels = {"method": "GET", "route": "/v1/jobs/{job_id}", "status": "404"}
    key = ("darefine_http_requests_total", frozenset(labels.items()))
    before = scrape(api).get(key, 0.0)
    for job_id in ("a" * 24, "b" * 24):
        assert_problem(api.http.get(f"/v1/jobs/{job_id}"), 404, "job-not-found")
    api.http.get("/no/such/path")
    api.http.request("BREW", "/healthz")
    samples = scrape(api)
    assert samples[key] == before + 2
    assert value(samples, "darefine_http_requests_total", method="GET", route="other", status="404") >= 1
    assert value(samples, "darefine_http_request_seconds_count", method="GET", route="/metrics") >= 1
    assert not [key for key in samples if "BREW" in str(key) or "no/such" in str(key)]


def test_sums_of_workers_are_histograms_and_counters(api: Api, redis: Redis) -> None:
    sums = Tallies(redis)
    for seconds in (0.5, 4, 4, 1e6):
        sums.add(JOB_SECONDS.observed(seconds, "net", "succeeded"))
    sums.add([RESTARTS.counted("worker"), RESTARTS.counted("worker", by=2)])
    samples = scrape(api)
    labels = {"model": "net", "outcome": "succeeded"}
    ends = {
        end: value(samples, "darefine_job_seconds_bucket", le=end, **labels) for end in ("1.0", "5.0", "+Inf")
    }
    assert ends == {"1.0": 1, "5.0": 3, "+Inf": 4}
    assert value(samples, "darefine_job_seconds_count", **labels) == 4
    assert value(samples, "darefine_job_seconds_sum", **labels) == pytest.approx(1e6 + 8.5)
    assert value(samples, "darefine_process_restarts_total", process="worker") == 3


def test_fields_that_others_wrote_are_passed_over(api: Api, redis: Redis) -> None:
    for field in ("x", "[]", '["darefine_jobs_requeued", 5, ""]', '["darefine_unknown", ""]', b"\xff"):
        redis.hset(TALLIES, field, "1")
    redis.hset(TALLIES, RESTARTS.counted("api").field, "many")
    Tallies(redis).add([RESTARTS.counted("api"), RESTARTS.counted("worker")])
    assert value(scrape(api), "darefine_process_restarts_total", process="worker") == 1


def test_every_family_is_there_before_anything_happened(api: Api, redis: Redis) -> None:
    text = api.http.get("/metrics").text
    assert [metric.name for metric in METRICS if f"# HELP {metric.name}" not in text] == []


def test_a_jobs_attempt_is_summed_up(tmp_path: Path) -> None:
    request = JobRequest("5" * 24, "a.svs", "/a.svs", "net", JobParameters(), priority="high")
    job = replace(new_job(request, tmp_path), created_at=10.0, started_at=14.0)
    job.files.directory.mkdir()
    job.files.result.write_text(
        '{"stage_seconds": {"plan": 1.5}, "megapixels": 7, "megapixels_per_second": null, "device": "cuda:0"}'
    )
    fields = {one.field: one.amount for one in job_additions(job, "succeeded", seconds=3.0, crashes=1)}
    assert fields['["darefine_queue_wait_seconds", "high", "sum"]'] == 4.0
    assert fields['["darefine_job_seconds", "net", "succeeded", "sum"]'] == 3.0
    assert fields['["darefine_stage_seconds", "plan", "sum"]'] == 1.5
    assert fields['["darefine_megapixels", "net", ""]'] == 7
    assert fields['["darefine_engine_crashes", ""]'] == 1
    assert not [field for field in fields if "per_second" in field]
    again = {one.field for one in job_additions(replace(job, attempt=2), "failed", seconds=1, crashes=0)}
    assert again == {
        '["darefine_job_seconds", "net", "failed", "0"]',
        '["darefine_job_seconds", "net", "failed", "sum"]',
    }


def test_the_state_of_workers_and_disk_is_shown(api: Api) -> None:
    gpu = WorkerInfo(
        "gpu-1",
        WorkerState.BUSY,
        "cuda:0",
        "bfloat16",
        (),
        0.0,
        memory_used=5 * 10**9,
        memory_total=8 * 10**10,
    )
    for worker in (gpu, WorkerInfo("cpu-1", WorkerState.FAILED, None, None, (), 0.0)):
        api.registry.announce(worker, ttl_s=30)
    try:
        samples = scrape(api)
    finally:
        for name in ("gpu-1", "cpu-1"):
            api.registry.withdraw(name)
    states = {state: value(samples, "darefine_worker_states", state=state) for state in WorkerState}
    assert states == {"starting": 0, "idle": 0, "busy": 1, "failed": 1} | {
        state: 0 for state in states if state not in ("starting", "idle", "busy", "failed")
    }
    assert value(samples, "darefine_gpu_memory_used_bytes", worker="gpu-1", device="cuda:0") == 5e9
    assert 0 < value(samples, "darefine_disk_free_bytes") < value(samples, "darefine_disk_size_bytes")
    assert value(samples, "darefine_oldest_queued_seconds") >= 0
