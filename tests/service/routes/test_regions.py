"""Polygons of a succeeded job: made on request, gzipped or not, refused as they should be."""

import gzip
import json
import threading
from pathlib import Path

import numpy as np
import pytest

from service.accept import takes_gzip
from tests.wsi.writing.test_label_tiff import ArrayTiles
from wsi.geometry import Size
from wsi.grid import InputGeometry, make_grid
from wsi.palette import LabelClass, Palette
from wsi.writing.pyramid import write_label_pyramids

from ..conftest import Api, assert_problem, post_slide

CLASSES = [
    {"value": 1, "name": "normal", "colour": [9, 8, 7]},
    {"value": 2, "name": "x", "colour": [1, 1, 1]},
]


@pytest.fixture
def job(api: Api, slide: Path) -> Path:
    """The directory of a succeeded job with one square of class 1, 200 label px wide."""
    job = post_slide(api, slide, outputs="regions.geojson", force="true").json()
    assert job["parameters"]["outputs"] == ["regions.geojson"]
    api.lease.start(job["id"], 1, "tester")
    directory = api.data_dir / "jobs" / job["id"]
    directory.mkdir(parents=True)
    labels = np.zeros((512, 512), np.uint8)
    labels[100:300, 100:300] = 1
    grid = make_grid(Size(1024, 1024), 0.5, InputGeometry(1.0, 5, 5, 64))
    pair = {name: directory / f"{name}.tif" for name in ("labels", "overlay")}
    palette = Palette((LabelClass(1, "normal", (9, 8, 7)),))
    write_label_pyramids(ArrayTiles(labels), grid, palette, {"mpp": {"label": 1.0, "downsample": 2}}, **pair)
    (directory / "result.json").write_text(json.dumps({"classes": CLASSES}))
    api.lease.succeed(job["id"], 1)
    return directory


def url(job: Path, **options: float) -> str:
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return f"/v1/jobs/{job.name}/regions.geojson?{query}"


def test_it_is_made_once_and_kept(api: Api, job: Path) -> None:
    links = api.http.get(f"/v1/jobs/{job.name}").json()["links"]
    response = api.http.get(links["regions"])
    assert (response.status_code, response.headers["content-type"]) == (200, "application/geo+json")
    assert response.headers["content-encoding"] == "gzip"
    assert response.headers["content-disposition"] == 'attachment; filename="good.stand-in.regions.geojson"'
    (feature,) = response.json()["features"]
    assert feature["properties"]["classification"] == {"name": "normal", "color": [9, 8, 7]}
    assert min(feature["geometry"]["coordinates"][0]) == [200, 200], "level-0 px"
    (kept,) = job.glob("regions*")
    kept.write_bytes(gzip.compress(b"kept"))
    assert api.http.get(url(job)).content == b"kept"
    assert api.http.get(url(job, tolerance_um=1)).json()["darefine"]["tolerance_um"] == 1


def test_clients_that_take_no_gzip_get_it_unpacked(api: Api, job: Path) -> None:
    packed = api.http.get(url(job))
    plain = api.http.get(url(job), headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"
    assert plain.content == packed.content
    etag = packed.headers["etag"]
    assert api.http.get(url(job), headers={"If-None-Match": etag}).status_code == 304


@pytest.mark.parametrize(
    ("header", "taken"),
    [("gzip, br", True), ("*", True), ("GZIP;q=0.5", True), ("br", False), ("gzip;q=0", False), ("", False)],
)
def test_who_takes_gzip(header: str, taken: bool) -> None:
    assert takes_gzip(header) is taken


def test_the_api_answers_while_polygons_are_made(api: Api, job: Path) -> None:
    """Five requests for one file: it is made by one process, and other calls do not wait for it."""
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(api.http.get(url(job, tolerance_um=3)).status_code))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    assert api.http.get("/healthz").status_code == 200
    assert answers == [], "the first process has only started"
    for thread in threads:
        thread.join()
    assert answers == [200] * 5
    assert [path.name for path in job.glob("regions*")] == ["regions-3um-500um2.geojson.gz"]


def test_options_and_jobs_that_cannot_be(api: Api, job: Path, slide: Path) -> None:
    assert "tolerance_um" in assert_problem(api.http.get(url(job, tolerance_um=-1)), 422, "request-invalid")
    assert_problem(api.http.get("/v1/jobs/none/regions.geojson"), 404, "job-not-found")
    waiting = post_slide(api, slide, force="true").json()
    assert_problem(api.http.get(f"/v1/jobs/{waiting['id']}/regions.geojson"), 409, "result-not-ready")
    refused = post_slide(api, slide, outputs="regions.geojson,polygons")
    assert "regions.geojson" in assert_problem(refused, 422, "request-invalid")


def test_labels_that_cannot_be_read_are_a_fault_of_the_service(api: Api, job: Path) -> None:
    (job / "labels.tif").write_bytes(b"II*\0")
    assert_problem(api.http.get(url(job)), 500, "conversion-failed")
    assert not list(job.glob("*regions*"))
