"""The guard in front of a real API."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.access.audit import AUDIT_FILE
from service.access.keys import KeyStore, Scope
from service.access.rules import OPEN_PATHS
from service.app import create_app
from tests import ROOT
from tests.service.conftest import Api, assert_problem, running_api, write_slide

ELSEWHERE = {"X-Forwarded-For": "192.0.2.7"}
"""Makes a call one from another machine."""


@pytest.fixture(scope="module")
def keys(api: Api) -> Iterator[dict[str, str]]:
    """The text of a key of each scope, by scope."""
    store = KeyStore(api.data_dir)
    yield {scope: store.add(f"test {scope}", scope)[1] for scope in Scope}
    for scope in Scope:
        store.revoke(f"test {scope}")


def bearer(key: str) -> dict[str, str]:
    """Headers of a call from another machine with a key."""
    return {**ELSEWHERE, "Authorization": f"Bearer {key}"}


def audit_lines(api: Api) -> list[dict[str, Any]]:
    """The audit log."""
    return [json.loads(line) for line in (api.data_dir / AUDIT_FILE).read_text().splitlines()]


def new_key(api: Api, name: str, **limits: Any) -> str:
    """The text of a key that may submit."""
    return KeyStore(api.data_dir).add(name, Scope.SUBMIT, **limits)[1]


def test_this_machine_needs_no_key_and_any_other_does(api: Api, keys: dict[str, str]) -> None:
    assert api.http.get("/v1/jobs").status_code == 200
    refused = api.http.get("/v1/jobs", headers=ELSEWHERE)
    assert "darefine keys add" in assert_problem(refused, 401, "key-needed")
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert api.http.get("/v1/jobs", headers=bearer(keys["read"])).status_code == 200


def test_a_wrong_key_is_refused_even_where_none_is_needed(api: Api) -> None:
    for header in ("Bearer darefine_00000000_x", "Basic eDp5", "Bearer", ""):
        assert_problem(api.http.get("/v1/jobs", headers={"Authorization": header}), 401, "key-needed")


def test_a_revoked_key_is_refused_at_the_next_call(api: Api) -> None:
    key = new_key(api, "soon gone")
    assert api.http.get("/v1/jobs", headers=bearer(key)).status_code == 200
    KeyStore(api.data_dir).revoke("soon gone")
    assert_problem(api.http.get("/v1/jobs", headers=bearer(key)), 401, "key-needed")


@pytest.mark.parametrize(
    ("method", "path", "lowest"),
    [
        ("GET", "/v1/slides", Scope.READ),
        ("GET", "/metrics", Scope.READ),
        ("POST", "/v1/slides", Scope.SUBMIT),
        ("POST", "/v1/jobs/none/cancel", Scope.SUBMIT),
        ("DELETE", "/v1/slides/none", Scope.ADMIN),
        ("DELETE", "/v1/jobs/none", Scope.ADMIN),
    ],
)
def test_a_key_may_do_what_its_scope_says(
    api: Api, keys: dict[str, str], method: str, path: str, lowest: Scope
) -> None:
    for scope in Scope:
        response = api.http.request(method, path, headers=bearer(keys[scope]))
        if scope.covers(lowest):
            assert response.status_code not in (401, 403)
        else:
            assert lowest.value in assert_problem(response, 403, "scope-missing")


def test_every_route_needs_a_key_but_those_that_hold_nothing(api: Api) -> None:
    document = api.http.get("/openapi.json").json()
    paths = {path for path in document["paths"] if path not in OPEN_PATHS}
    assert len(paths) >= 10
    for path in paths:
        for method in document["paths"][path]:
            response = api.http.request(method, re.sub(r"\{\w+\}", "none", path), headers=ELSEWHERE)
            assert response.status_code == 401
            if method != "head":
                assert_problem(response, 401, "key-needed")


def test_health_is_open_to_all_under_any_name(api: Api) -> None:
    for path in ("/healthz", "/readyz"):
        headers = {**ELSEWHERE, "Host": "10-1-2-3.pods.example"}
        assert api.http.get(path, headers=headers).status_code in (200, 503)


@pytest.mark.parametrize(("setting", "status"), [("key", 401), ("open", 200), ("off", 404)])
def test_metrics_are_shown_by_setting(api: Api, setting: str, status: int) -> None:
    with running_api(api.settings.model_copy(update={"metrics": setting})) as http:
        assert http.get("/metrics", headers=ELSEWHERE).status_code == status


def test_a_setting_makes_this_machine_need_a_key_too(api: Api, keys: dict[str, str]) -> None:
    with running_api(api.settings.model_copy(update={"require_key": True})) as http:
        assert_problem(http.get("/v1/jobs"), 401, "key-needed")
        assert http.get("/v1/jobs", headers={"Authorization": f"Bearer {keys['read']}"}).status_code == 200


def test_a_page_elsewhere_can_neither_submit_nor_cancel(api: Api, slide: Path) -> None:
    page = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    with slide.open("rb") as file:
        submitted = api.http.post("/v1/jobs", files={"slide": (slide.name, file)}, headers=page)
    assert_problem(submitted, 403, "origin-not-allowed")
    assert_problem(api.http.post("/v1/jobs/none/cancel", headers=page), 403, "origin-not-allowed")
    assert_problem(
        api.http.get("/v1/jobs", headers={"Sec-Fetch-Site": "cross-site"}), 403, "origin-not-allowed"
    )


def test_a_name_that_was_bound_anew_reaches_nothing(api: Api) -> None:
    for path in ("/v1/jobs", "/", "/openapi.json"):
        response = api.http.get(path, headers={"Host": "evil.example:8000"})
        assert_problem(response, 421, "host-not-allowed")
    with running_api(api.settings.model_copy(update={"allowed_hosts": ("slides.lab.org",)})) as http:
        assert_problem(http.get("/v1/jobs", headers={"Host": "slides.lab.org"}), 401, "key-needed")


def test_pages_elsewhere_read_nothing_unless_their_origin_is_allowed(api: Api, keys: dict[str, str]) -> None:
    page = {"Origin": "https://lab.org", "Sec-Fetch-Site": "cross-site"}
    assert "access-control-allow-origin" not in api.http.get("/v1/jobs", headers=page).headers
    with running_api(api.settings.model_copy(update={"cors_origins": ("https://lab.org",)})) as http:
        asked = {
            **page,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        }
        assert (
            http.options("/v1/jobs", headers=asked).headers["access-control-allow-origin"]
            == "https://lab.org"
        )
        answer = http.get("/v1/jobs", headers={**page, **bearer(keys["read"])})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://lab.org"
        assert "access-control-allow-credentials" not in answer.headers, "cookies stay the own page's"
        other = http.get("/v1/jobs", headers={**page, "Origin": "https://evil.example"})
        assert_problem(other, 403, "origin-not-allowed")


def test_a_login_opens_what_its_key_opens_until_logout(api: Api, keys: dict[str, str]) -> None:
    base = str(api.http.base_url)
    with httpx.Client(base_url=base, headers=ELSEWHERE) as browser:
        assert browser.get("/v1/session").status_code == 401
        assert browser.post("/v1/session", json={"key": "darefine_00000000_no"}).status_code == 401
        login = browser.post("/v1/session", json={"key": keys["read"]})
        assert (login.status_code, login.json()["scope"]) == (200, "read")
        cookie = login.headers["set-cookie"]
        for part in ("HttpOnly", "SameSite=strict", "Path=/"):
            assert part in cookie
        assert keys["read"] not in cookie
        assert browser.get("/v1/session").json() == {"name": "test read", "scope": "read"}
        assert browser.get("/v1/jobs").status_code == 200
        assert browser.post("/v1/jobs/none/cancel").status_code == 403
        token = dict(browser.cookies)
        assert browser.delete("/v1/session").status_code == 204
        assert browser.get("/v1/jobs").status_code == 401
        browser.cookies.update(token)
        assert browser.get("/v1/jobs").status_code == 401, (
            "a copy of the cookie is worth nothing after logout"
        )


def test_over_tls_the_cookie_is_for_tls_alone(api: Api, keys: dict[str, str]) -> None:
    headers = {"X-Forwarded-Proto": "https", **ELSEWHERE}
    login = api.http.post("/v1/session", json={"key": keys["read"]}, headers=headers)
    assert "Secure" in login.headers["set-cookie"]
    api.http.cookies.clear()


def test_who_calls_from_this_machine(api: Api) -> None:
    assert api.http.get("/v1/session").json() == {"name": "local", "scope": "admin"}


def test_a_key_that_calls_too_often_is_told_when_to_go_on(api: Api) -> None:
    key = new_key(api, "hasty", calls_per_minute=2)
    for _ in range(2):
        assert api.http.get("/v1/jobs", headers=bearer(key)).status_code == 200
    refused = api.http.get("/v1/jobs", headers=bearer(key))
    assert_problem(refused, 429, "rate-limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 60


def test_a_key_sends_no_more_than_its_limit(api: Api, tmp_path: Path) -> None:
    key = new_key(api, "small", max_slide_bytes=100_000)
    content = write_slide(tmp_path / "large.tif", seed=977).read_bytes()
    assert len(content) > 100_000
    url = "/v1/slides?filename=large.tif"
    assert "100000" in assert_problem(
        api.http.put(url, content=content, headers=bearer(key)), 413, "slide-too-large"
    )
    undeclared = api.http.put(url, content=iter([content[:60_000], content[60_000:]]), headers=bearer(key))
    assert_problem(undeclared, 413, "slide-too-large")
    assert not list((api.data_dir / "slides" / ".incoming").iterdir()), "nothing is left of it"
    assert api.http.put(url, content=content, headers=bearer(new_key(api, "large"))).status_code == 201


def test_every_change_leaves_one_line_in_the_audit_log(
    api: Api, keys: dict[str, str], tmp_path: Path
) -> None:
    before = len(audit_lines(api))
    content = write_slide(tmp_path / "case.tif", seed=978).read_bytes()
    stored = api.http.put(
        "/v1/slides?filename=case-4711.tif", content=content, headers=bearer(keys["submit"])
    )
    api.http.delete(f"/v1/slides/{stored.json()['id']}", headers=bearer(keys["read"]))
    api.http.delete(f"/v1/slides/{stored.json()['id']}", headers=ELSEWHERE)
    api.http.delete(f"/v1/slides/{stored.json()['id']}")
    api.http.post("/v1/session", json={"key": keys["read"]}, headers=ELSEWHERE)
    api.http.cookies.clear()
    api.http.get("/v1/slides")
    lines = audit_lines(api)[before:]
    assert [(line["method"], line["status"]) for line in lines] == [
        ("PUT", 201),
        ("DELETE", 403),
        ("DELETE", 401),
        ("DELETE", 204),
        ("POST", 200),
    ]
    who = [line["who"] and re.sub("[0-9a-f]{8}", "ID", line["who"]) for line in lines]
    assert who == ["key ID test submit", "key ID test read", None, "local", "key ID test read"]
    assert lines[0]["made"] == stored.headers["location"]
    assert {line["source"] for line in lines} == {"192.0.2.7", "127.0.0.1"}
    text = (api.data_dir / AUDIT_FILE).read_text()
    assert "4711" not in text, "names of slides are often case numbers"
    assert keys["read"] not in text
    assert (api.data_dir / AUDIT_FILE).stat().st_mode & 0o077 == 0


def test_every_answer_tells_browsers_to_be_careful(api: Api) -> None:
    for path in ("/v1/jobs", "/v1/nothing", "/healthz"):
        headers = api.http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "private, no-cache"
        assert "sandbox" in headers["content-security-policy"]
    for path in ("/", "/docs"):
        headers = api.http.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'; ")
        assert "unsafe-inline" not in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"


def test_the_document_says_how_to_show_a_key(api: Api) -> None:
    document = create_app(api.settings).openapi()
    assert document["security"] == [{"key": []}, {"session": []}, {}]
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    responses = document["paths"]["/v1/slides"]["post"]["responses"]
    assert {"401", "403", "421", "429"} <= set(responses)
    examples = responses["403"]["content"]["application/problem+json"]["examples"]
    assert set(examples) == {"root-not-allowed", "scope-missing", "origin-not-allowed"}
    assert create_app(api.settings).openapi() == document


def threats() -> dict[str, str]:
    """The rows of the table of threats: what each names in its last column, by threat."""
    section = (ROOT / "docs" / "security.md").read_text().partition("\n## Threats\n")[2].partition("\n## ")[0]
    lines = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in lines[0]] == ["threat", "what stands against it", "shown by"]
    assert all(len(cells) == 3 for cells in lines[2:])
    return {threat.strip(): shown for threat, _, shown in lines[2:]}


@pytest.mark.parametrize(("threat", "shown"), threats().items(), ids=threats())
def test_each_threat_names_tests_that_are_there(threat: str, shown: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", shown)
    assert named, threat
    assert len(named) == shown.count("`") // 2, "nothing else is named"
    for file, test in named:
        assert re.search(rf"^def {test}\(", (ROOT / file).read_text(), re.MULTILINE), f"{file}::{test}"


def test_the_table_has_the_threats_that_it_had() -> None:
    assert len(threats()) >= 30, "it is read whole"


def test_a_fault_of_the_service_is_written_down_too(api: Api) -> None:
    app = create_app(api.settings)
    app.add_api_route("/v1/fault", lambda: 1 / 0, methods=["POST"])

    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("127.0.0.1", 5))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.post("/v1/fault")

    answer = asyncio.run(call())
    assert_problem(answer, 500, "internal")
    assert answer.headers["x-content-type-options"] == "nosniff"
    last = audit_lines(api)[-1]
    assert (last["who"], last["path"], last["status"]) == ("local", "/v1/fault", 500)
