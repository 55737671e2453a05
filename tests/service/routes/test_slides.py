"""Uploads, registration, deletion."""

import hashlib
from pathlib import Path

import pytest

from ..conftest import Api, assert_problem, post_slide, write_slide


def put(api: Api, name: str, content: bytes):
    return api.http.put("/v1/slides", params={"filename": name}, content=content)


def test_upload_tells_what_the_file_says(api: Api, slide: Path) -> None:
    response = put(api, "good.tif", slide.read_bytes())
    assert response.status_code == 201
    body = response.json()
    assert response.headers["location"] == body["links"]["self"]
    assert (body["width"], body["height"], body["mpp_source"]) == (1024, 1024, "tiff-resolution")
    assert body["mpp"] == pytest.approx(0.5, rel=1e-4)
    assert api.http.get(body["links"]["self"]).json() == body
    assert body in api.http.get("/v1/slides").json()["slides"]


@pytest.mark.parametrize("content", [b"", b"no slide at all" * 100])
def test_what_is_no_slide_is_refused_and_not_kept(api: Api, content: bytes) -> None:
    before = {p.name for p in (api.data_dir / "slides").iterdir()}
    assert_problem(put(api, "junk.svs", content), 422, "slide-unreadable")
    assert {p.name for p in (api.data_dir / "slides").iterdir()} == before
    assert not list((api.data_dir / "slides" / ".incoming").iterdir())


@pytest.mark.parametrize("name", ["", "..", "x" * 300 + ".svs", "a\x00.svs"])
def test_bad_file_name(api: Api, slide: Path, name: str) -> None:
    fresh = write_slide(slide.parent / "fresh.tif", seed=10 + len(name)).read_bytes()
    assert_problem(put(api, name, fresh), 422, "slide-name")


def test_path_in_a_file_name_is_dropped(api: Api, slide: Path) -> None:
    fresh = write_slide(slide.parent / "traversal.tif", seed=77).read_bytes()
    assert put(api, "../../etc/evil.tif", fresh).json()["name"] == "evil.tif"


def test_too_large_is_refused_before_and_while_sending(api: Api) -> None:
    assert_problem(put(api, "big.svs", b"x" * (10**7 + 1)), 413, "slide-too-large")
    chunks = (b"x" * 10**6 for _ in range(12))
    assert_problem(api.http.put("/v1/slides?filename=big.svs", content=chunks), 413, "slide-too-large")


def test_register_in_place(api: Api) -> None:
    path = write_slide(api.slide_root / "kept.tif", seed=3)
    response = api.http.post("/v1/slides", json={"uri": f"file://{path}"})
    body = response.json()
    assert (response.status_code, response.headers["location"]) == (201, body["links"]["self"])
    assert api.http.post("/v1/slides", json={"uri": str(path)}).json() == body
    assert (body["name"], body["sha256"]) == ("kept.tif", None)
    assert api.http.delete(body["links"]["self"]).status_code == 204
    assert path.exists()


@pytest.mark.parametrize("uri", ["/etc/passwd", "{root}/../secret.tif", "file:///etc"])
def test_outside_the_allowed_folders(api: Api, uri: str) -> None:
    response = api.http.post("/v1/slides", json={"uri": uri.format(root=api.slide_root)})
    assert_problem(response, 403, "root-not-allowed")


def test_slide_of_an_unfinished_job_stays(api: Api, slide: Path) -> None:
    job = post_slide(api, slide).json()
    url = f"/v1/slides/{job['slide']['id']}"
    assert_problem(api.http.delete(url), 409, "slide-in-use")
    for other in api.http.get("/v1/jobs", params={"state": "queued", "limit": 200}).json()["jobs"]:
        api.http.post(other["links"]["cancel"])
    assert api.http.delete(url).status_code == 204
    assert_problem(api.http.get(url), 404, "slide-not-found")


def test_same_file_twice_is_stored_once_under_its_first_name(api: Api, slide: Path) -> None:
    content = write_slide(slide.parent / "twice.tif", seed=51).read_bytes()
    first, second = (put(api, name, content).json() for name in ("a.tif", "b.tif"))
    assert first == second
    assert first["name"] == "a.tif"
    assert [s["id"] for s in api.http.get("/v1/slides").json()["slides"]].count(first["id"]) == 1


def test_a_client_can_ask_by_sha256_before_it_sends(api: Api, slide: Path) -> None:
    content = write_slide(slide.parent / "asked.tif", seed=61).read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    assert api.http.get("/v1/slides", params={"sha256": sha256}).json() == {"slides": []}
    stored = put(api, "asked.tif", content).json()
    assert api.http.get("/v1/slides", params={"sha256": sha256}).json() == {"slides": [stored]}
    same_id = sha256[:24] + "0" * 40
    assert api.http.get("/v1/slides", params={"sha256": same_id}).json() == {"slides": []}
    assert_problem(api.http.get("/v1/slides", params={"sha256": "x"}), 422, "request-invalid")
