"""Liveness, readiness, metrics."""

import shutil
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from redis import Redis

from service.slides.disk import DISK_RESERVE
from tests.workers.full_queue import accept_writes, refuse_writes
from workers.queue.registry import WorkerInfo, WorkerState
from workers.supervisor.valkey import EmbeddedValkey

from ..conftest import Api, running_api


def test_alive(api: Api) -> None:
    assert api.http.get("/healthz").json() == {"status": "ok", "version": version("darefine")}


def test_ready_only_with_a_worker(api: Api) -> None:
    without = api.http.get("/readyz")
    assert without.status_code == 503
    assert without.json()["checks"] == {
        "queue": "ok", "storage": "ok", "worker": "no worker has its model loaded",
    }  # fmt: skip
    worker = WorkerInfo(
        name="tester",
        state=WorkerState.IDLE,
        device="cpu",
        dtype="float32",
        models=("stand-in",),
        started_at=time.time(),
        problem=None,
    )
    api.registry.announce(worker, ttl_s=30)
    try:
        assert api.http.get("/readyz").status_code == 200
        assert "darefine_workers 1.0" in api.http.get("/metrics").text
    finally:
        api.registry.withdraw("tester")


def test_not_ready_on_the_disk_that_refuses_uploads(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(api.data_dir)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=DISK_RESERVE))
    answer = api.http.get("/readyz")
    assert answer.status_code == 503
    assert "1.0 GB are free, and 1 GB" in answer.json()["checks"]["storage"]
    assert api.http.put("/v1/slides?filename=a.svs", content=b"x").status_code == 507


def test_a_queue_that_takes_nothing_is_told_from_one_that_does_not_answer(api: Api, tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path / "queue")
    valkey.start()
    settings = api.settings.model_copy(update={"data_dir": tmp_path, "redis_url": valkey.url})
    try:
        with running_api(settings) as http, Redis.from_url(valkey.url) as redis:
            refuse_writes(redis, valkey)
            answer = http.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()["checks"]["queue"].startswith("the queue takes nothing: MISCONF")
            accept_writes(redis, valkey)
            assert http.get("/readyz").json()["checks"]["queue"] == "ok"
            valkey.stop()
            assert http.get("/readyz").json()["checks"]["queue"] == "the queue does not answer"
    finally:
        valkey.stop()
