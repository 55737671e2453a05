"""Answer HEAD wherever GET is answered, and say in every 405 which methods there are."""

import re
from collections.abc import Iterable

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class MethodTable:
    """Methods of every path of an app."""

    def __init__(self, routers: Iterable[tuple[str, APIRouter]]) -> None:
        """Read the routes of `routers`, each below its prefix."""
        self._routes: list[tuple[re.Pattern[str], frozenset[str]]] = [
            (compile_path(prefix + route.path)[0], frozenset(route.methods or ()))
            for prefix, router in routers
            for route in router.routes
            if isinstance(route, APIRoute)
        ]

    def of(self, path: str) -> frozenset[str]:
        """Return the methods that routes of `path` have; none where there is no such path."""
        return frozenset().union(*(methods for pattern, methods in self._routes if pattern.match(path)))

    def allowed(self, path: str) -> str:
        """Return the value of `Allow` for `path`: HEAD is where GET is."""
        methods = self.of(path)
        return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


class _AnsweredError(OSError):
    """The head went out, which is all that was asked for. Starlette takes it for a client that left."""


class HeadMiddleware:
    """ASGI middleware that answers HEAD with the head of what GET answers, where no route of its own does."""

    def __init__(self, app: ASGIApp, *, methods: MethodTable) -> None:
        self._app = app
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call, or pass it on."""
        known = self._methods.of(scope["path"]) if scope.get("method") == "HEAD" else frozenset()
        if "HEAD" in known or "GET" not in known:
            await self._app(scope, receive, send)
            return
        answered = False

        async def send_head(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            elif message.get("more_body"):
                # Files and streams of events: the rest is not read.
                raise _AnsweredError

        try:
            await self._app({**scope, "method": "GET"}, receive, send_head)
        except Exception:
            if not answered:
                raise
