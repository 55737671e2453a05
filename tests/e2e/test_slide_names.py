"""`DAREFINE_SLIDE_NAMES=false`: jobs run, and fail, without a word on whose slides they are."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from darefine.client import Client, JobState, JobUnsuccessfulError, ServiceRefusedError
from wsi.phantom import PhantomFiles

from .conftest import RunningService, started_service

pytestmark = pytest.mark.e2e

PERSON = "Smith"
NAME = f"17-4711 {PERSON}.tif"
JUNK = f"17-4711 {PERSON} junk.svs"


@pytest.fixture
def nas(tmp_path: Path, small_phantom: PhantomFiles) -> Path:
    """A folder of slides that the service may read in place."""
    folder = tmp_path / "nas"
    folder.mkdir()
    shutil.copy(small_phantom.slide, folder / NAME)
    (folder / JUNK).write_bytes(b"no slide" * 10_000)
    return folder


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the service logs."""
    return tmp_path / "service.log"


@pytest.fixture
def nameless(tmp_path: Path, tiny_model: Path, nas: Path, log: Path) -> Iterator[RunningService]:
    """A service that keeps names to itself, and is otherwise as talkative as can be."""
    environment = {
        "DAREFINE_SLIDE_NAMES": "false",
        "DAREFINE_SLIDE_ROOTS": str(nas),
        "DAREFINE_LOG_LEVEL": "DEBUG",
    }
    with started_service(tmp_path / "state", tiny_model, log, environment) as running:
        yield running


def send_in_each_way(http: httpx.Client, client: Client, slide: Path) -> str:
    """Send a slide by PUT, as a form and as a resumable upload, and junk too; return its id."""
    content = slide.read_bytes()
    slide_id: str = http.put("/v1/slides", params={"filename": NAME}, content=content).json()["id"]
    form = http.post("/v1/jobs", files={"slide": (NAME, content)}, data={"force": "true"})
    assert form.status_code == 202
    assert client.upload(slide).id == slide_id
    for name in (JUNK, f"../{NAME}", f"{NAME}.exe"):
        assert http.put("/v1/slides", params={"filename": name}, content=b"x" * 1000).status_code == 422
    assert http.post("/v1/jobs", files={"slide": (JUNK, b"x" * 1000)}).status_code == 422
    with pytest.raises(ServiceRefusedError):
        client.upload(slide.with_name(JUNK))
    return slide_id


def fail_jobs(http: httpx.Client, client: Client, data_dir: Path, slide_id: str, in_place: Path) -> None:
    """Run jobs on slides that are damaged, then gone, after they were taken; read tiles of them."""
    of_place = client.register(str(in_place)).id
    assert client.wait(client.submit(of_place, force=True).id).state == JobState.SUCCEEDED
    (stored,) = (data_dir / "slides" / slide_id / "content").iterdir()
    for file, one in ((stored, slide_id), (in_place, of_place)):
        file.write_bytes(b"damaged" * 1000)
        assert http.get(f"/v1/slides/{one}/thumbnail").status_code >= 400
        with pytest.raises(JobUnsuccessfulError):
            client.wait(client.submit(one, force=True).id)
        file.unlink()
        with pytest.raises(JobUnsuccessfulError):
            client.wait(client.submit(one, force=True).id)
    with pytest.raises(ServiceRefusedError):
        client.register(str(in_place.with_name(JUNK)))


def test_no_log_and_no_result_has_a_name(nameless: RunningService, nas: Path, log: Path) -> None:
    with Client(nameless.url) as client, httpx.Client(base_url=nameless.url, timeout=60) as http:
        slide_id = send_in_each_way(http, client, nas / NAME)
        done = client.wait(client.submit(slide_id, force=True, outputs=["preview"]).id)
        assert http.get(f"/v1/jobs/{done.id}/regions.geojson").status_code == 200
        assert http.get("/v1/jobs", params={"slide": NAME}).status_code == 422
        for path in nameless.data_dir.rglob("*"):
            assert PERSON not in path.name, path
        fail_jobs(http, client, nameless.data_dir, slide_id, nas / NAME)
        client.delete_slide(slide_id)
    assert slide_id in log.read_text(), "the log says something"
    for text in (log, nameless.data_dir / "audit.log"):
        told = [line for line in text.read_text().splitlines() if PERSON in line or "4711" in line]
        assert told == []
    results = [path for path in (nameless.data_dir / "jobs").glob("*/**/*") if path.is_file()]
    assert any(path.name == "result.json" for path in results)
    assert [path for path in results if PERSON.encode() in path.read_bytes()] == []
