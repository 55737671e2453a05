"""Decide which scope a call needs, and whether another site's page may have sent it.

Pure functions of a request's head; `service.access.middleware` applies them to every call.
"""

import ipaddress
import re
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from ..errors import HostNotAllowedError, OriginNotAllowedError
from ..schemas import PREFIX
from .keys import Scope

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

SESSION_PATH = f"{PREFIX}/session"
UPLOADS_PATH = f"{PREFIX}/uploads"
WEBHOOKS_PATH = f"{PREFIX}/webhooks"
PRUNE_PATH = f"{PREFIX}/prune"
METRICS_PATH = "/metrics"
HEALTH_PATHS = frozenset({"/healthz", "/readyz"})

OPEN_PATHS = (
    frozenset(
        {"/", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json", "/favicon.ico", SESSION_PATH}
    )
    | HEALTH_PATHS
)
"""What anybody may fetch: the page that asks for a key, documentation, health; no slides, no jobs."""

OPEN_FOLDERS = ("/assets/", "/static/")
"""Scripts, styles and pictures of the page."""

OPEN_PAGE = re.compile(r"/jobs/[^/]+/report")
"""Pages outside of the API: they hold nothing themselves and ask the API, as their visitor."""

FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""Headers of a proxy: behind one, a loopback address says nothing about where the caller sits."""


def scope_needed(method: str, path: str) -> Scope | None:
    """Return the scope that a call needs, None for what anybody may fetch.

    Reading is what changes nothing. Removing results or slides, which are not one caller's alone, is an
    administrator's; a caller may drop an upload that is not finished. So are webhooks, addresses of which may
    hold secrets, and to which this machine connects.
    """
    if path in OPEN_PATHS or path.startswith(OPEN_FOLDERS) or OPEN_PAGE.fullmatch(path):
        return None
    if path in (WEBHOOKS_PATH, PRUNE_PATH) or path.startswith(f"{WEBHOOKS_PATH}/"):
        return Scope.ADMIN
    if method in SAFE_METHODS:
        return Scope.READ
    if method == "DELETE" and not path.startswith(f"{UPLOADS_PATH}/"):
        return Scope.ADMIN
    return Scope.SUBMIT


def is_local(call: HTTPConnection) -> bool:
    """Tell whether a call comes from this machine, by name too, and through no proxy.

    Such a call needs no key: who may run programs here reads the data folder anyway.
    """
    client, server = call.client, call.scope.get("server")
    return (
        client is not None
        and server is not None
        and is_loopback(client.host)
        and is_loopback(str(server[0]))
        and is_loopback(host_name(call.headers.get("host", "")))
        and not any(name in call.headers for name in FORWARDED)
    )


def require_known_host(call: HTTPConnection, allowed: Collection[str]) -> None:
    """Check that the call names this service, so that no page reaches it under a name of its own (rebinding).

    An address is no name; loopback and this machine's names are known; `allowed` are further names, `*.org`
    stands for all that end so and `*` for any.

    Raises:
        HostNotAllowedError: when the Host header is absent, doubled or another name.
    """
    given = call.headers.getlist("host")
    name = host_name(given[0]) if len(given) == 1 else ""
    known = {"localhost", *own_names(), *(entry.lower() for entry in allowed)}
    if is_address(name) or name in known or ("*" in known and name):
        return
    if any(entry.startswith("*.") and name.endswith(entry[1:]) for entry in known):
        return
    raise HostNotAllowedError(
        f"This service does not answer to the name {name[:100]!r}. If it is this service's, add it to "
        "DAREFINE_ALLOWED_HOSTS."
    )


def require_own_page(call: HTTPConnection, cors_origins: Collection[str]) -> None:
    """Check that no page of another origin sent the call; programs that are no browsers send no such headers.

    Links from elsewhere may open the page and downloads; nothing else of another origin gets through.

    Raises:
        OriginNotAllowedError: when a browser says that another origin's page is behind it.
    """
    headers, method = call.headers, call.scope["method"]
    origin = headers.get("origin")
    if origin is not None and origin in cors_origins:
        return
    site = headers.get("sec-fetch-site", "none")
    followed_link = method in SAFE_METHODS and headers.get("sec-fetch-mode") == "navigate"
    foreign = site not in ("same-origin", "none") and not followed_link
    if foreign or (
        origin is not None and method not in SAFE_METHODS and not is_same(origin, headers["host"])
    ):
        raise OriginNotAllowedError(
            "A page of another origin sent this call. Use the service's own page, or add the origin to "
            "DAREFINE_CORS_ORIGINS."
        )


def is_same(origin: str, host: str) -> bool:
    """Tell whether an Origin header is of the host that a Host header names, whatever the scheme.

    A proxy may speak TLS to the browser and none to this service; Sec-Fetch-Site tells schemes apart.
    """
    return urlsplit(origin).netloc.lower() == host.lower()


def host_name(host: str) -> str:
    """Return the name of a Host header in lower case, without port and brackets; '' if it has none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_address(name: str) -> bool:
    """Tell whether a name is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Tell whether a host name or address can be reached from this machine alone."""
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def own_names() -> tuple[str, str]:
    """Return this machine's host name, whole and up to its first dot, in lower case."""
    name = socket.gethostname().lower()
    return name, name.partition(".")[0]
