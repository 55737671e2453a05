"""A real API over a real Valkey; a stand-in worker is announced, so that jobs are queued and never run."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tifffile
import uvicorn
from fastapi import FastAPI

from service.app import create_app
from service.http_limits import LimitedProtocol
from service.settings import ServiceSettings
from workers.queue.connection import connect
from workers.queue.lease import JobLease
from workers.queue.registry import WorkerRegistry
from workers.supervisor.valkey import EmbeddedValkey

CARD = {
    "name": "stand-in",
    "version": "1",
    "title": "Stand-in",
    "phantom": True,
    "classes": [{"value": 1, "name": "normal", "colour": [0, 0, 0]}],
    "input": {"mpp": 0.934, "context_ratio": 5, "slices_per_side": 5, "halo_px": 64},
    "weights": {"file": "stand-in.safetensors", "sha256": "ab" * 32, "dtype": "float16"},
}


@dataclass(frozen=True)
class Api:
    """The running API, an HTTP client of it, and what a worker has of the queue behind it."""

    http: httpx.Client
    lease: JobLease
    registry: WorkerRegistry
    data_dir: Path
    slide_root: Path
    queue_url: str
    settings: ServiceSettings


def undocumented(document: dict[str, Any], response: httpx.Response) -> str | None:
    """Say what of a response the OpenAPI document does not announce, or None.

    Unknown paths and methods have no operation, and a 500 is covered by `default`.
    """
    path, method = response.request.url.path, response.request.method.lower()
    for template, operations in document["paths"].items():
        if method in operations and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            break
    else:
        return None
    announced = operations[method]["responses"].get(str(response.status_code))
    if announced is None:
        return None if response.status_code == 500 else f"{method} {template} says nothing of this status"
    if response.headers.get("content-type") != "application/problem+json" or method == "head":
        return None
    kind = response.json()["type"].rsplit(":", 1)[1]
    examples = announced["content"]["application/problem+json"]["examples"]
    return None if kind in examples else f"{method} {template} has no example of {kind}"


def client_of(app: FastAPI, port: int) -> httpx.Client:
    """An HTTP client that fails when a response is not as documented."""
    document = app.openapi()

    def check(response: httpx.Response) -> None:
        if response.headers.get("content-type") == "application/problem+json":
            response.read()
        assert undocumented(document, response) is None, (response.status_code, response.request.url)

    return httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, event_hooks={"response": [check]})


@contextmanager
def running_api(settings: ServiceSettings) -> Iterator[httpx.Client]:
    """uvicorn in a thread on a free loopback port, and a client of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = create_app(settings)
        server = uvicorn.Server(uvicorn.Config(app, http=LimitedProtocol, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            with client_of(app, listener.getsockname()[1]) as http:
                yield http
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def api_process(
    data_dir: Path, queue_url: str, port: int = 0
) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """uvicorn in a process of its own, as it is deployed, and a client of it; killed in the end."""
    command = [sys.executable, "-m", "uvicorn", "service.app:create_app", "--factory", "--port", str(port)]
    command += ["--http", "service.http_limits:LimitedProtocol"]
    environment = {**os.environ, "DAREFINE_DATA_DIR": str(data_dir), "REDIS_URL": queue_url}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = (re.search(r"running on (http://[\d.:]+)", line) for line in process.stderr)
        with httpx.Client(base_url=next(found[1] for found in said if found), timeout=60) as http:
            yield process, http
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API over a Valkey of its own."""
    root = tmp_path_factory.mktemp("api")
    slide_root = root / "nas"
    slide_root.mkdir()
    valkey = EmbeddedValkey(root / "queue")
    valkey.start()
    settings = ServiceSettings(
        data_dir=root / "data", redis_url=valkey.url, slide_roots=(slide_root,), max_slide_bytes=10**7
    )
    settings.data_dir.mkdir()
    with connect(valkey.url) as redis:
        registry = WorkerRegistry(redis)
        registry.publish_models("stand-in", (json.dumps(CARD),))
        with running_api(settings) as http:
            lease = JobLease(redis, settings.data_dir.resolve() / "jobs")
            yield Api(http, lease, registry, settings.data_dir, slide_root, valkey.url, settings)
    valkey.stop()


def write_slide(path: Path, *, mpp: float | None = 0.5, seed: int = 0, side_px: int = 1024) -> Path:
    """A small tiled TIFF with resolution tags, or without when `mpp` is None."""
    pixels = np.random.default_rng(seed).integers(0, 255, (side_px, side_px, 3), np.uint8)
    resolution = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(
        path, pixels, tile=(256, 256), photometric="rgb", compression="adobe_deflate", **resolution
    )
    return path


@pytest.fixture(scope="session")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of 1024 x 1024 px at 0.5 um/px."""
    return write_slide(tmp_path_factory.mktemp("slides") / "good.tif")


@pytest.fixture(scope="session")
def slide_without_mpp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same kind of slide that does not say its pixel size."""
    return write_slide(tmp_path_factory.mktemp("slides") / "no-mpp.tif", mpp=None, seed=1)


def post_slide(api: Api, slide: Path, headers: dict[str, str] | None = None, **fields: str) -> httpx.Response:
    """POST a slide as a form with `fields`; the job is a new one, whatever was done before."""
    data = {"force": "true", **fields}
    with slide.open("rb") as file:
        return api.http.post("/v1/jobs", files={"slide": (slide.name, file)}, data=data, headers=headers)


def assert_problem(response: httpx.Response, status: int, kind: str) -> str:
    """Check that a response is a problem document of this status and kind; return its detail."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["type"] == f"urn:darefine:problem:{kind}"
    assert body["status"] == status
    detail: str = body["detail"]
    return detail
