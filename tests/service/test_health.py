"""Liveness, readiness, metrics, OpenAPI."""

import subprocess
import sys
import time

from workers.queue.registry import WorkerInfo, WorkerState

from .conftest import CARD, Api


def test_alive(api: Api) -> None:
    assert api.http.get("/healthz").json()["status"] == "ok"


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


def test_models_are_the_published_cards(api: Api) -> None:
    assert api.http.get("/v1/models").json() == {"default": "stand-in", "models": [CARD]}


def test_openapi_names_both_ways_to_post_a_job(api: Api) -> None:
    document = api.http.get("/openapi.json").json()
    content = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/json"}
    assert content["application/json"]["schema"]["example"]["slide_id"]


def test_openapi_says_that_errors_are_problem_documents(api: Api) -> None:
    document = api.http.get("/openapi.json").json()
    answers = [
        (path, status, answer["content"])
        for path, operations in document["paths"].items()
        for operation in operations.values()
        for status, answer in operation["responses"].items()
        if status[0] not in "23" and (path, status) != ("/readyz", "503")
    ]
    assert {path for path, _, _ in answers} == set(document["paths"])
    for _, _, content in answers:
        assert set(content) == {"application/problem+json"}
        name = content["application/problem+json"]["schema"]["$ref"].rsplit("/", 1)[1]
        example = document["components"]["schemas"][name]["example"]
        assert {"type", "title", "status", "detail"} <= set(example)


def test_the_api_has_no_torch() -> None:
    code = "import sys, service.app; service.app.create_app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
