"""Count the requests of this process by route, and measure how soon their answers begin."""

import time

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..schemas import PREFIX

OTHER = "other"
"""Route of requests that no route took: refused by the guard, or nothing is there."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that are told apart; callers may make up others."""

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)


class RequestMetrics:
    """Counter and histogram of requests, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "darefine_http_requests",
            "Requests answered, by route.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "darefine_http_request_seconds",
            "From a request's head to the head of its answer: an upload takes as long as its body.",
            ["method", "route"],
            buckets=SECONDS,
            registry=self.registry,
        )


class RequestMetricsMiddleware:
    """ASGI middleware that counts in a RequestMetrics; it must see calls before all others do."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, and count it as its answer begins."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(scope, message["status"], time.monotonic() - began)
            await send(message)

        await self._app(scope, receive, note)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else OTHER
        route = route_of(scope)
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)


def route_of(scope: Scope) -> str:
    """Return the template of the route that took a call, such as `/v1/jobs/{job_id}`."""
    template: str | None = getattr(scope.get("route"), "path", None)
    if template is None:
        return OTHER
    # A route knows nothing of the prefix under which its router hangs.
    return f"{PREFIX}{template}" if scope["path"].startswith(f"{PREFIX}/") else template
