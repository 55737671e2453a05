"""What a call needs, told from its head alone."""

import socket

import pytest
from starlette.requests import HTTPConnection

from service.access.keys import Scope
from service.access.rules import is_local, require_known_host, require_own_page, scope_needed
from service.errors import HostNotAllowedError, OriginNotAllowedError


def call(
    headers: dict[str, str] | None = None,
    *,
    method: str = "GET",
    client: str | None = "127.0.0.1",
    server: str = "127.0.0.1",
) -> HTTPConnection:
    """The head of a call."""
    given = {"host": "127.0.0.1:8000", **(headers or {})}
    return HTTPConnection(
        {
            "type": "http",
            "method": method,
            "path": "/v1/jobs",
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "client": client and (client, 5000),
            "server": (server, 8000),
        }
    )


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/", None),
        ("GET", "/healthz", None),
        ("GET", "/openapi.json", None),
        ("GET", "/assets/page.js", None),
        ("GET", "/jobs/1/report", None),
        ("GET", "/jobs/1/report/more", Scope.READ),
        ("POST", "/v1/session", None),
        ("GET", "/metrics", Scope.READ),
        ("GET", "/v1/jobs", Scope.READ),
        ("HEAD", "/v1/jobs/1/overlay.tif", Scope.READ),
        ("GET", "/whatever/comes", Scope.READ),
        ("POST", "/v1/jobs", Scope.SUBMIT),
        ("PUT", "/v1/slides", Scope.SUBMIT),
        ("PATCH", "/v1/uploads/1", Scope.SUBMIT),
        ("DELETE", "/v1/uploads/1", Scope.SUBMIT),
        ("POST", "/v1/jobs/1/cancel", Scope.SUBMIT),
        ("DELETE", "/v1/jobs/1", Scope.ADMIN),
        ("GET", "/v1/webhooks", Scope.ADMIN),
        ("POST", "/v1/webhooks/x/ping", Scope.ADMIN),
        ("POST", "/v1/prune", Scope.ADMIN),
        ("POST", "/v1/batches", Scope.SUBMIT),
        ("DELETE", "/v1/slides/1", Scope.ADMIN),
        ("BREW", "/v1/jobs", Scope.SUBMIT),
    ],
)
def test_what_a_call_needs_follows_from_method_and_path(method: str, path: str, scope: Scope | None) -> None:
    assert scope_needed(method, path) is scope


def test_calls_from_this_machine_are_local() -> None:
    assert is_local(call())
    assert is_local(call({"host": "localhost"}))
    assert is_local(call({"host": "[::1]:8000"}, client="::1", server="::1"))
    assert is_local(call(client="::ffff:127.0.0.1"))


@pytest.mark.parametrize(
    "changes",
    [
        {"client": "192.168.1.9"},
        {"client": None},
        {"server": "192.168.1.5"},
        {"headers": {"host": "lab.org"}},
        {"headers": {"x-forwarded-for": "127.0.0.1"}},
        {"headers": {"forwarded": "for=127.0.0.1"}},
        {"headers": {"via": "1.1 proxy"}},
    ],
)
def test_other_machines_proxies_and_other_names_are_not_local(changes: dict) -> None:
    assert not is_local(call(**changes))


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8000",
        "LOCALHOST",
        "10.1.2.3:80",
        "[fe80::1]",
        socket.gethostname(),
        "slides.lab.org",
        "x.y.io",
    ],
)
def test_addresses_own_names_and_allowed_names_are_known(host: str) -> None:
    require_known_host(call({"host": host}), ("slides.lab.org", "*.y.io"))


@pytest.mark.parametrize(
    "host", ["", "evil.example", "lab.org", "y.io.evil.example", "localhost.evil.example", "[", "a b"]
)
def test_other_names_are_not_known(host: str) -> None:
    with pytest.raises(HostNotAllowedError, match="DAREFINE_ALLOWED_HOSTS"):
        require_known_host(call({"host": host}), ("slides.lab.org", "*.y.io"))


def test_any_one_name_is_known_where_all_are_allowed() -> None:
    require_known_host(call({"host": "evil.example"}), ("*",))
    doubled = call()
    doubled.scope["headers"].append((b"host", b"evil.example"))
    with pytest.raises(HostNotAllowedError):
        require_known_host(doubled, ("*",))


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {}),
        ("POST", {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}),
        ("POST", {"origin": "https://127.0.0.1:8000"}),
        ("POST", {"origin": "https://lab.org", "sec-fetch-site": "cross-site"}),
        ("GET", {"sec-fetch-site": "none"}),
        ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}),
    ],
)
def test_own_pages_programs_links_and_allowed_origins_may_call(method: str, headers: dict[str, str]) -> None:
    require_own_page(call(headers, method=method), ("https://lab.org",))


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {"origin": "http://evil.example"}),
        ("POST", {"origin": "null"}),
        ("POST", {"origin": "http://127.0.0.1:9000"}),
        ("DELETE", {"sec-fetch-site": "cross-site"}),
        ("POST", {"sec-fetch-site": "same-site"}),
        ("POST", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}),
        ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}),
    ],
)
def test_pages_elsewhere_may_not(method: str, headers: dict[str, str]) -> None:
    with pytest.raises(OriginNotAllowedError, match="DAREFINE_CORS_ORIGINS"):
        require_own_page(call(headers, method=method), ())
