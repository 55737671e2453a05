"""Answer HEAD wherever GET is answered, and say in every 405 which methods there are."""

import re
from collections.abc import Iterable

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .error_handlers import handle_http


class MethodTable:
    """Methods of every path of an app."""

    def __init__(self, routers: Iterable[tuple[str, APIRouter]]) -> None:
        """Read the routes of `routers`, each below its prefix."""
        self._routes: list[tuple[re.Pattern[str], frozenset[str]]] = []
        self._literal: dict[str, frozenset[str]] = {}
        for prefix, router in routers:
            for route in router.routes:
                if isinstance(route, APIRoute):
                    path, methods = prefix + route.path, frozenset(route.methods or ())
                    self._routes.append((compile_path(path)[0], methods))
                    if "{" not in path:
                        self._literal[path] = self._literal.get(path, frozenset()) | methods

    def of(self, path: str) -> frozenset[str]:
        """Return the methods that routes of `path` have; none where there is no such path.

        /v1/jobs/preflight is no job's, although it has the form of a job's.
        """
        if path in self._literal:
            return self._literal[path]
        return frozenset().union(*(methods for pattern, methods in self._routes if pattern.match(path)))

    def allowed(self, path: str) -> str:
        """Return the value of `Allow` for `path`: HEAD is where GET is."""
        methods = self.of(path)
        return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))

    def refuses(self, method: str, path: str) -> bool:
        """Tell whether `path` is one of those without parameters and has no such method."""
        return path in self._literal and method not in self.allowed(path).split(", ")


class _AnsweredError(OSError):
    """The head went out, which is all that was asked for. Starlette takes it for a client that left."""


class MethodMiddleware:
    """ASGI middleware that answers HEAD with the head of what GET answers, where no route of its own does.

    It also keeps calls of a path without parameters from routes with some that the path happens to fit.
    """

    def __init__(self, app: ASGIApp, *, methods: MethodTable) -> None:
        self._app = app
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call, or pass it on."""
        if scope["type"] == "http" and self._methods.refuses(scope["method"], scope["path"]):
            refusal = await handle_http(Request(scope), HTTPException(405))
            await refusal(scope, receive, send)
            return
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
