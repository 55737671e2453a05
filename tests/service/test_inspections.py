"""Many uploads at once: how many are looked at, and what the rest of the API does meanwhile."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import service.app
from service.settings import ServiceSettings
from wsi.geometry import Rect, Size
from wsi.reading.slide_info import SlideInfo

from .conftest import running_api

UPLOADS = 50
LIMIT = 2
INFO = SlideInfo("generic-tiff", "tiff", Size(1, 1), (1.0,), None, None, Rect(0, 0, 1, 1))


class Inspector:
    """Stands in for `inspect_slide`: takes until it is told to go on, and counts how often it is at work."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.full = threading.Event()
        self.most = 0
        self._running = 0
        self._lock = threading.Lock()

    def __call__(self, path: Path, timeout_s: float) -> SlideInfo:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
            if self._running == LIMIT:
                self.full.set()
        assert self.go_on.wait(timeout_s)
        with self._lock:
            self._running -= 1
        return INFO


def test_few_uploads_are_looked_at_at_once_and_others_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = tmp_path / "registered"
    registered.mkdir()
    inspector = Inspector()
    monkeypatch.setattr(service.app, "inspect_slide", inspector)
    settings = ServiceSettings(
        data_dir=tmp_path, inspections=LIMIT, slide_roots=(tmp_path,), redis_url="redis://127.0.0.1:1/0"
    )
    with running_api(settings) as http, ThreadPoolExecutor(UPLOADS + 1) as pool:
        calls = [
            pool.submit(http.put, f"/v1/slides?filename={i}.tif", content=b"%d" % i) for i in range(UPLOADS)
        ]
        assert inspector.full.wait(60)
        calls.append(pool.submit(http.post, "/v1/slides", json={"uri": str(registered)}))
        try:
            wait_for_uploads(tmp_path / "slides" / ".incoming")
            assert http.get("/v1/slides", timeout=30).json() == {"slides": []}
        finally:
            inspector.go_on.set()
        assert {call.result().status_code for call in calls} == {201}
    assert inspector.most == LIMIT


def test_a_slide_that_vanishes_while_it_is_looked_at_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = tmp_path / "going.tif"
    slide.write_bytes(b"soon gone")

    def inspect_and_lose(path: Path, timeout_s: float) -> SlideInfo:
        path.unlink()
        return INFO

    monkeypatch.setattr(service.app, "inspect_slide", inspect_and_lose)
    settings = ServiceSettings(
        data_dir=tmp_path / "data", slide_roots=(tmp_path,), redis_url="redis://127.0.0.1:1/0"
    )
    with running_api(settings) as http:
        answer = http.post("/v1/slides", json={"uri": str(slide)})
    assert answer.status_code == 422
    assert "Register it again" in answer.json()["detail"]


def wait_for_uploads(incoming: Path) -> None:
    """Until every upload has begun."""
    deadline = time.monotonic() + 20
    while len(list(incoming.iterdir())) < UPLOADS:
        assert time.monotonic() < deadline
        time.sleep(0.01)
