"""Downloads of result files: ranges and conditions."""

import json
from pathlib import Path

import pytest

from ..conftest import Api, assert_problem, post_slide

CONTENT = bytes(range(200))


@pytest.fixture(params=["overlay", "labels"])
def url(request: pytest.FixtureRequest, api: Api, slide: Path) -> str:
    """Where a TIFF of a succeeded job is."""
    job = post_slide(api, slide, force="true").json()
    api.lease.start(job["id"], 1, "tester")
    directory = api.data_dir / "jobs" / job["id"]
    directory.mkdir(parents=True)
    (directory / f"{request.param}.tif").write_bytes(CONTENT)
    api.lease.succeed(job["id"], 1)
    links = api.http.get(job["links"]["self"]).json()["links"]
    found: str = links[request.param]
    return found


def test_the_whole_file_and_its_head(api: Api, url: str) -> None:
    whole = api.http.get(url)
    assert (whole.status_code, whole.content) == (200, CONTENT)
    assert whole.headers["content-type"] == "image/tiff"
    assert (
        whole.headers["content-disposition"]
        == f'attachment; filename="good.stand-in.{url.rsplit("/", 1)[1]}"'
    )
    head = api.http.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "200")


@pytest.mark.parametrize(
    ("value", "start", "end"), [("bytes=10-19", 10, 20), ("bytes=190-", 190, 200), ("bytes=-10", 190, 200)]
)
def test_a_range_of_it(api: Api, url: str, value: str, start: int, end: int) -> None:
    part = api.http.get(url, headers={"Range": value})
    assert (part.status_code, part.content) == (206, CONTENT[start:end])
    assert part.headers["content-range"] == f"bytes {start}-{end - 1}/200"


@pytest.mark.parametrize("value", ["bytes=200-", "bytes=999-1000", "bytes=-0"])
def test_a_range_outside_the_file(api: Api, url: str, value: str) -> None:
    response = api.http.get(url, headers={"Range": value})
    assert "200 bytes" in assert_problem(response, 416, "range-not-satisfiable")
    assert response.headers["content-range"] == "bytes */200"


@pytest.mark.parametrize("value", ["bytes", "lines=1-2", "bytes=", "bytes=a-b", "bytes=20-10"])
def test_a_range_that_cannot_be_understood_is_ignored(api: Api, url: str, value: str) -> None:
    response = api.http.get(url, headers={"Range": value})
    assert (response.status_code, response.content) == (200, CONTENT)


def test_a_copy_that_is_good_is_not_sent_again(api: Api, url: str) -> None:
    etag = api.http.get(url).headers["etag"]
    for value in (etag, f'"other", W/{etag}', "*"):
        for method in ("GET", "HEAD"):
            response = api.http.request(method, url, headers={"If-None-Match": value, "Range": "bytes=0-1"})
            assert (response.status_code, response.content) == (304, b"")
            assert response.headers["etag"] == etag
    assert api.http.get(url, headers={"If-None-Match": '"other"'}).content == CONTENT


def test_a_range_of_another_version_gives_the_whole_file(api: Api, url: str) -> None:
    etag = api.http.get(url).headers["etag"]
    ask = {"Range": "bytes=0-9"}
    assert api.http.get(url, headers={**ask, "If-Range": etag}).content == CONTENT[:10]
    for value in ("bytes=0-9", "bytes=999-"):
        assert api.http.get(url, headers={"Range": value, "If-Range": '"other"'}).content == CONTENT


def test_result_is_the_json_the_worker_wrote(api: Api, url: str) -> None:
    job_url = url.rsplit("/", 1)[0]
    written = {"classes": [{"name": "normal", "area_mm2": 0.25}]}
    (api.data_dir / "jobs" / job_url.rsplit("/", 1)[1] / "result.json").write_text(json.dumps(written))
    response = api.http.get(f"{job_url}/result")
    assert (response.status_code, response.json()) == (200, written)


@pytest.mark.parametrize("name", ["overlay.tif", "labels.tif", "result"])
def test_results_of_an_unknown_job(api: Api, name: str) -> None:
    assert_problem(api.http.get(f"/v1/jobs/none/{name}"), 404, "job-not-found")


def test_a_lost_result_file_is_a_fault_of_the_service(api: Api, url: str) -> None:
    # uvicorn hangs up after an unexpected error; the client must not use the connection again.
    response = api.http.get(f"{url.rsplit('/', 1)[0]}/result", headers={"Connection": "close"})
    detail = assert_problem(response, 500, "internal")
    assert "result.json" not in detail


def test_any_file_that_the_result_names_byte_for_byte(api: Api, slide: Path) -> None:
    job = post_slide(api, slide, force="true").json()
    url = f"{job['links']['self']}/files"
    assert_problem(api.http.get(f"{url}/regions.geojson.gz"), 409, "result-not-ready")
    api.lease.start(job["id"], 1, "tester")
    directory = api.data_dir / "jobs" / job["id"]
    directory.mkdir(parents=True)
    kinds = {
        "labels.tif": "image/tiff",
        "regions.geojson.gz": "application/gzip",
        "labels.dcm": "application/dicom",
        "labels.ome.zarr.zip": "application/zip",
    }
    for name in (*kinds, "plan.json"):
        (directory / name).write_bytes(CONTENT)
    (directory / "result.json").write_text(json.dumps({"files": {name: {} for name in kinds}}))
    api.lease.succeed(job["id"], 1)
    for name, kind in kinds.items():
        answer = api.http.get(f"{url}/{name}", headers={"Accept-Encoding": "gzip"})
        assert (answer.content, answer.headers["content-type"]) == (CONTENT, kind)
        assert "content-encoding" not in answer.headers, "the bytes themselves"
        assert answer.headers["content-disposition"] == f'attachment; filename="good.stand-in.{name}"'
        assert api.http.get(f"{url}/{name}", headers={"Range": "bytes=5-9"}).content == CONTENT[5:10]
    for name in ("plan.json", "..%2Fslide.json", "result.json"):
        answer = api.http.get(f"{url}/{name}")
        assert answer.status_code == 404, "what the result does not name is not handed out"
