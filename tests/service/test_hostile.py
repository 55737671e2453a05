"""Requests and folders that nobody meant well: never a 500, never a leftover."""

import json
import socket
from pathlib import Path

import pytest

from benchmarks.hostile.__main__ import own_slides
from benchmarks.hostile.mutants import mutants
from benchmarks.hostile.sender import is_clear, problem_of
from service.settings import ServiceSettings

from .conftest import Api, assert_problem, running_api, write_slide

VENDORS = {
    "jpeg.tif": "generic-tiff",
    "deflate.tif": "generic-tiff",
    "strips.tif": "plain-tiff",
    "aperio.svs": "aperio",
    "slide.ome.tif": "generic-tiff",
    "slide.dcm": "dicom",
}
"""What OpenSlide calls the slides that are damaged, by name."""


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Good slides of all kinds that `make hostile` damages."""
    return own_slides(tmp_path_factory.mktemp("bases"))


def test_what_is_damaged_was_good(api: Api, bases: dict[str, bytes]) -> None:
    vendors = {}
    for name, content in bases.items():
        stored = api.http.put("/v1/slides", params={"filename": name}, content=content).json()
        vendors[name] = stored["vendor"]
        api.http.delete(stored["links"]["self"]).raise_for_status()
    assert vendors == VENDORS


@pytest.mark.parametrize("name", VENDORS)
def test_damaged_and_malicious_files_are_taken_or_refused_in_words(
    api: Api, bases: dict[str, bytes], name: str
) -> None:
    """A sample; `python -m benchmarks.hostile` sends a thousand, and runs jobs on what is taken."""
    before = set((api.data_dir / "slides").rglob("*"))
    for mutant in mutants({name: bases[name]}, 4, seed=4):
        answer = api.http.put("/v1/slides", params={"filename": mutant.name}, content=mutant.content)
        if answer.status_code == 201:
            links = answer.json()["links"]
            shown = api.http.get(links["thumbnail"])
            assert shown.status_code == 200 or shown.json()["type"].endswith(("unreadable", "quarantined"))
            api.http.delete(links["self"]).raise_for_status()
        else:
            assert is_clear(problem_of(answer)), mutant.kind
    assert set((api.data_dir / "slides").rglob("*")) == before


@pytest.mark.parametrize("slide_id", ["x" * 300, "%2e%2e", "0" * 24, "%00"])
def test_senseless_slide_ids_are_not_found(api: Api, slide_id: str) -> None:
    assert_problem(api.http.get(f"/v1/slides/{slide_id}"), 404, "slide-not-found")


@pytest.mark.parametrize("uri", ["a\0b", "s3://bucket/slide.svs", "file:///etc/host%73"])
def test_senseless_uris_are_refused(api: Api, uri: str) -> None:
    assert_problem(api.http.post("/v1/slides", json={"uri": uri}), 403, "root-not-allowed")


def test_percent_signs_of_a_file_uri_are_decoded(api: Api) -> None:
    path = write_slide(api.slide_root / "my slide.tif", seed=31)
    assert api.http.post("/v1/slides", json={"uri": path.as_uri()}).json()["name"] == "my slide.tif"


def test_two_slides_in_one_form(api: Api, slide: Path) -> None:
    files = [("slide", ("a.tif", slide.read_bytes())), ("slide", ("b.tif", b"more"))]
    assert "one" in assert_problem(api.http.post("/v1/jobs", files=files), 422, "request-invalid")


def test_form_field_that_is_no_text(api: Api, slide: Path) -> None:
    files = {"slide": ("a.tif", slide.read_bytes()), "model": (None, b"\xff\xfe")}
    assert_problem(api.http.post("/v1/jobs", files=files), 422, "request-invalid")


def test_form_field_without_end(api: Api, slide: Path) -> None:
    files = {"model": (None, "m" * 5000), "slide": ("a.tif", slide.read_bytes())}
    assert_problem(api.http.post("/v1/jobs", files=files), 422, "request-invalid")


def test_job_on_a_slide_nobody_sent(api: Api) -> None:
    assert_problem(api.http.post("/v1/jobs", json={"slide_id": "0" * 24}), 404, "slide-not-found")


def test_endless_json(api: Api) -> None:
    body = json.dumps({"slide_id": "0" * 5 * 10**6}).encode()
    response = api.http.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert_problem(response, 413, "body-too-large")


@pytest.mark.parametrize(
    "member",
    [
        {"slide_id": "0" * 10**6},
        {"model": "0" * 10**6},
        {"tissue": "0" * 10**6},
        {"regions": "0" * 10**6},
        {"regions": {"unit": "px", "rectangles": [{"x": "0" * 10**6, "y": 0, "width": 1, "height": 1}]}},
        {"regions": {"type": "0" * 10**6}},
        {"regions": {"type": "Polygon", "coordinates": "0" * 10**6}},
        {"regions": {"unit": "0" * 10**6, "rectangles": []}},
    ],
)
def test_what_is_long_is_not_sent_back(api: Api, member: dict[str, object]) -> None:
    """JSON of a job may be long, for its polygons."""
    response = api.http.post("/v1/jobs", json={"slide_id": "0" * 24} | member)
    assert_problem(response, 422, "request-invalid")
    assert len(response.content) < 2000


def test_a_damaged_record_hides_one_slide_and_a_new_upload_mends_it(api: Api, slide: Path) -> None:
    content = write_slide(slide.parent / "record.tif", seed=32).read_bytes()
    stored = api.http.put("/v1/slides?filename=record.tif", content=content).json()
    (api.data_dir / "slides" / stored["id"] / "slide.json").write_text("")
    assert api.http.get(stored["links"]["self"]).status_code == 404
    assert stored["id"] not in [s["id"] for s in api.http.get("/v1/slides").json()["slides"]]
    assert api.http.put("/v1/slides?filename=record.tif", content=content).status_code == 201
    assert api.http.get(stored["links"]["self"]).status_code == 200


def test_without_the_queue_calls_are_503(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = ServiceSettings(data_dir=tmp_path, redis_url=f"redis://127.0.0.1:{port}/0")
    with running_api(settings) as client:
        for path in ("/v1/jobs", "/v1/models", "/metrics"):
            response = client.get(path)
            assert (response.status_code, response.json()["type"]) == (
                503,
                "urn:darefine:problem:queue-unavailable",
            )
            assert response.headers["retry-after"]
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
