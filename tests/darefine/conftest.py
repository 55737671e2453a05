"""A real API, and a stand-in worker that finishes jobs as soon as it sees them."""

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from darefine.client.connection import Connection
from tests.service.conftest import Api, api, slide, write_slide
from workers.errors import WorkersError
from workers.jobs import Job, Problem

__all__ = ["Api", "api", "slide", "write_slide"]

OVERLAY = bytes(range(256)) * 40


class Finisher:
    """Gives every queued job a result; fails those whose slide's name begins with `bad`."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.hold = False
        """Whether jobs stay as they are."""

    def __enter__(self) -> "Finisher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(0.02):
            queued = self._api.http.get("/v1/jobs", params={"state": "queued"}).json()["jobs"]
            for found in [] if self.hold else queued:
                try:
                    self._finish(found["id"])
                except WorkersError:  # cancelled meanwhile
                    continue

    def _finish(self, job_id: str) -> None:
        job = self._api.lease.start(job_id, 1, "finisher")
        if job is None:
            return
        if job.request.slide_name.startswith("bad"):
            self._api.lease.fail(job_id, 1, Problem("slide-unreadable", "Unreadable", "tile 7 is damaged"))
            return
        write_result(job)
        self._api.lease.succeed(job_id, 1)


def write_result(job: Job) -> None:
    """Leave result files of a job in its directory; `labels.tif` differs from slide to slide."""
    files = job.files
    files.directory.mkdir(parents=True)
    files.overlay.write_bytes(OVERLAY)
    files.labels.write_bytes(job.request.slide_id.encode())
    document = {
        "files": {path.name: facts(path) for path in (files.overlay, files.labels)},
        "classes": [
            area(1, "normal", 30),
            area(2, "in situ", 10),
        ],
        "mpp": {"slide": 0.5, "source": "tiff-resolution", "label": 1.0, "downsample": 2, "resampled": False},
        "model": {"name": job.request.model, "version": "1", "sha256": "ab" * 32},
        "parameters": job.request.parameters.to_json(),
        "megapixels": 1.0,
        "megapixels_per_second": 2.0,
        "device": "none",
    }  # fmt: skip
    files.result.write_text(json.dumps(document), encoding="ascii")


def area(value: int, name: str, pixels: int) -> dict[str, object]:
    """Area of a class among 40 analysed pixels of 0.05 mm² each."""
    return {
        "value": value,
        "name": name,
        "colour": [value, 0, 0],
        "pixels": pixels,
        "area_mm2": pixels * 0.05,
        "fraction": pixels / 40,
    }


def facts(path: Path) -> dict[str, object]:
    """Size and sha256 of a file."""
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.fixture
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients in this process ask again at once, whatever the service says."""
    monkeypatch.setattr(Connection, "pause_of", staticmethod(lambda _: 0.02))


@pytest.fixture
def finisher(api: Api) -> Iterator[Finisher]:
    """The stand-in worker."""
    with Finisher(api) as finisher:
        yield finisher


@pytest.fixture
def url(api: Api) -> str:
    """Address of the API."""
    return str(api.http.base_url)
