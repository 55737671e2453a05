"""What holds for every path alike: HEAD, Allow, gzip, query parameters."""

import gzip
from pathlib import Path

import pytest

from workers.jobs import Progress

from .conftest import Api, assert_problem, post_slide


def test_every_405_names_all_methods_of_the_path(api: Api) -> None:
    document = api.http.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        known = {method.upper() for method in operations}
        expected = known | ({"HEAD"} if "GET" in known else set())
        response = api.http.request("TRACE", path.replace("{", "").replace("}", ""))
        assert_problem(response, 405, "method-not-allowed")
        assert set(response.headers["allow"].split(", ")) == expected, path


def test_head_is_answered_where_get_is(api: Api, slide: Path) -> None:
    job = post_slide(api, slide).json()
    links = job["links"]
    api.lease.start(job["id"], 1, "tester")
    for path in (
        links["self"],
        links["slide"],
        links["model"],
        links["events"],
        "/v1/jobs",
        "/healthz",
        "/docs",
    ):
        got, head = api.http.stream("GET", path), api.http.head(path)
        with got as response:
            for name in ("content-type", "content-length", "retry-after", "cache-control"):
                assert head.headers.get(name) == response.headers.get(name), (path, name)
            assert (head.status_code, head.content) == (response.status_code, b""), path
    api.lease.succeed(job["id"], 1, Progress(fraction=1.0))
    assert api.http.head("/v1/jobs/none").status_code == 404
    assert api.http.head("/v1/jobs/preflight").status_code == 405
    assert api.http.head("/v1/session").status_code == 200


def test_json_is_gzipped_for_who_takes_it(api: Api, slide: Path) -> None:
    for _ in range(3):
        post_slide(api, slide)
    plain = api.http.get("/v1/jobs", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    with api.http.stream("GET", "/v1/jobs", headers={"Accept-Encoding": "gzip"}) as response:
        packed = b"".join(response.iter_raw())
    assert (response.headers["content-encoding"], response.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert gzip.decompress(packed) == plain.content
    assert int(response.headers["content-length"]) == len(packed) < len(plain.content) / 2
    assert "content-encoding" not in api.http.get("/healthz").headers, "too small to be worth it"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("stat=queued", "stat: there is no such parameter; known are: created_after"),
        ("state=queued&state=running", "state: send it once"),
        ("cursor=zzz", "cursor: "),
        ("state=done", "state: "),
        ("created_after=yesterday", "created_after: "),
        ("created_after=2026-03-02T09:14:05", "created_after: "),
    ],
)
def test_query_parameters_that_mean_nothing_are_refused(api: Api, query: str, said: str) -> None:
    assert said in assert_problem(api.http.get(f"/v1/jobs?{query}"), 422, "request-invalid")


def test_calls_without_parameters_take_none(api: Api, slide: Path) -> None:
    job = post_slide(api, slide).json()
    for path in (job["links"]["self"], job["links"]["slide"], "/v1/models", "/healthz"):
        assert "known are: none" in assert_problem(api.http.get(f"{path}?x=1"), 422, "request-invalid")
