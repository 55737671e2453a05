"""Uploads, registration, deletion."""

import hashlib
import os
import shutil
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from service.access.keys import KeyStore, Scope

from ..conftest import Api, assert_problem, post_slide, write_slide


def put(api: Api, name: str, content: object):
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
    job = post_slide(api, slide, force="true").json()
    url = f"/v1/slides/{job['slide']['id']}"
    assert_problem(api.http.delete(url), 409, "slide-in-use")
    for other in api.http.get("/v1/jobs", params={"state": "queued", "limit": 200}).json()["jobs"]:
        api.http.post(other["links"]["cancel"])
    assert api.http.delete(url).status_code == 204
    assert_problem(api.http.get(url), 404, "slide-not-found")


def file_of(api: Api, stored: dict[str, Any]) -> Path:
    """The file of a stored slide."""
    (file,) = (api.data_dir / "slides" / stored["id"] / "content").iterdir()
    return file


def test_same_file_of_the_same_name_twice_is_one_slide(api: Api, slide: Path) -> None:
    content = write_slide(slide.parent / "twice.tif", seed=51).read_bytes()
    first, second = (put(api, "a.tif", content).json() for _ in range(2))
    assert first == second
    assert [s["id"] for s in api.http.get("/v1/slides").json()["slides"]].count(first["id"]) == 1


def test_a_slide_is_on_the_disk_before_its_sender_is_told(
    api: Api, slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = write_slide(slide.parent / "flushed.tif", seed=55).read_bytes()
    flushed, fsync = set(), os.fsync

    def recorded(descriptor: int) -> None:
        flushed.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    file = file_of(api, put(api, "flushed.tif", content).json())
    folders = list(file.parents)[: file.parents.index(api.data_dir / "slides") + 1]
    assert {path.stat().st_ino for path in (file, *folders)} <= flushed


def test_same_file_of_another_name_is_another_slide_of_the_same_bytes(api: Api, slide: Path) -> None:
    content = write_slide(slide.parent / "names.tif", seed=52).read_bytes()
    first, second = (put(api, name, content).json() for name in ("patient-A.tif", "patient-B.tif"))
    assert (first["name"], second["name"]) == ("patient-A.tif", "patient-B.tif")
    assert file_of(api, first).samefile(file_of(api, second)), "stored once"
    jobs = [api.http.post("/v1/jobs", json={"slide_id": one["id"]}).json() for one in (first, second)]
    assert [job["slide"]["name"] for job in jobs] == ["patient-A.tif", "patient-B.tif"]
    for job in jobs:
        api.http.post(job["links"]["cancel"])
    assert api.http.delete(first["links"]["self"]).status_code == 204
    assert file_of(api, second).read_bytes() == content
    assert api.http.get(second["links"]["self"]).json() == second


def test_a_slide_is_its_senders_and_goes_with_nobody_elses(api: Api, slide: Path) -> None:
    content = write_slide(slide.parent / "owners.tif", seed=53).read_bytes()
    keys = KeyStore(api.data_dir)
    mine = put(api, "same.tif", content).json()
    theirs = api.http.put(
        "/v1/slides?filename=same.tif",
        content=content,
        headers={"Authorization": f"Bearer {keys.add('theirs', Scope.SUBMIT)[1]}"},
    ).json()
    keys.revoke("theirs")
    assert mine["id"] != theirs["id"]
    assert api.http.delete(mine["links"]["self"]).status_code == 204
    assert file_of(api, theirs).read_bytes() == content


def test_bytes_that_are_here_get_another_name_without_being_sent(api: Api, slide: Path) -> None:
    content = write_slide(slide.parent / "referred.tif", seed=54).read_bytes()
    known = {"sha256": hashlib.sha256(content).hexdigest(), "filename": "mine.tif"}
    refused = api.http.post("/v1/slides", json=known)
    assert "send it" in assert_problem(refused, 404, "slide-not-found")
    put(api, "first.tif", content)
    mine = api.http.post("/v1/slides", json=known)
    assert (mine.status_code, mine.json()["name"]) == (201, "mine.tif")
    assert api.http.post("/v1/slides", json=known).json() == mine.json()
    as_zip = api.http.post("/v1/slides", json={**known, "filename": "mine.zip"})
    assert_problem(as_zip, 404, "slide-not-found")
    found = api.http.get("/v1/slides", params={"sha256": known["sha256"]}).json()["slides"]
    assert [one["name"] for one in found] == ["mine.tif", "first.tif"]


def test_an_unpacked_zip_is_shared_too(api: Api, slide: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "case.zip", "w") as zipped:
        zipped.write(write_slide(slide.parent / "zipped.tif", seed=55), "folder/zipped.tif")
    content = (tmp_path / "case.zip").read_bytes()
    first, second = (put(api, name, content).json() for name in ("a.zip", "b.zip"))
    assert [one["name"] for one in (first, second)] == ["a.zip", "b.zip"]
    assert api.http.delete(first["links"]["self"]).status_code == 204
    assert (file_of(api, second) / "zipped.tif").stat().st_nlink == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"uri": "/x", "sha256": "0" * 64, "filename": "a"},
        {"sha256": "0" * 64},
        {"sha256": "x", "filename": "a"},
    ],
)
def test_a_registration_says_one_thing(api: Api, body: dict[str, str]) -> None:
    assert_problem(api.http.post("/v1/slides", json=body), 422, "request-invalid")


def test_a_client_can_ask_by_sha256_before_it_sends(api: Api, slide: Path) -> None:
    content = write_slide(slide.parent / "asked.tif", seed=61).read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    assert api.http.get("/v1/slides", params={"sha256": sha256}).json() == {"slides": []}
    stored = put(api, "asked.tif", content).json()
    assert api.http.get("/v1/slides", params={"sha256": sha256}).json() == {"slides": [stored]}
    same_id = sha256[:24] + "0" * 40
    assert api.http.get("/v1/slides", params={"sha256": same_id}).json() == {"slides": []}
    assert_problem(api.http.get("/v1/slides", params={"sha256": "x"}), 422, "request-invalid")


def test_a_refused_upload_is_not_removed_on_the_event_loop(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    removing: list[str] = []
    rmtree = shutil.rmtree

    def watched(folder: Path, *, ignore_errors: bool) -> None:
        removing.append(threading.current_thread().name)
        rmtree(folder, ignore_errors=ignore_errors)

    monkeypatch.setattr("service.slides.upload.shutil.rmtree", watched)
    assert api.http.put("/v1/slides?filename=a.svs", content=b"no slide").status_code == 422
    assert api.http.post("/v1/jobs", files={"slide": ("a.svs", b"no slide")}).status_code == 422
    assert removing == ["AnyIO worker thread"] * 2
