"""Guard every call by host, origin, key or session, scope, rate and size; write changes to the audit log."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from ..error_handlers import handle_known, handle_unexpected
from ..errors import (
    KeyNeededError,
    MetricsOffError,
    ScopeMissingError,
    ServiceError,
)
from ..settings import ServiceSettings
from .audit import AuditLog
from .bodies import has_small_body, longest_body, read_small_body
from .headers import with_security_headers
from .keys import ApiKey, KeyStore, Scope
from .limits import RateLimiter, bounded, require_body_size
from .rules import (
    HEALTH_PATHS,
    METRICS_PATH,
    SAFE_METHODS,
    is_local,
    require_known_host,
    require_own_page,
    scope_needed,
)
from .sessions import COOKIE, SessionStore

STATE = "caller"
"""Where a request's state holds its Caller."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a call: the holder of a key, or somebody on this machine."""

    name: str
    scope: Scope
    key: ApiKey | None = None

    @property
    def owner(self) -> str:
        """Whose the slides are that this caller sends: the id of the key; empty for this machine's users."""
        return self.key.id if self.key else ""

    @classmethod
    def of_key(cls, key: ApiKey) -> "Caller":
        """Return the holder of `key`."""
        return cls(f"key {key.id} {key.name}", key.scope, key)


LOCAL = Caller("local", Scope.ADMIN)
"""Whoever calls over loopback without a key."""


class AccessMiddleware:
    """ASGI middleware that lets in who may call, and writes down who changed what.

    A route needs no code of its own: what a call needs follows from its method and path. The Caller is in the
    request's state.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: ServiceSettings,
        keys: KeyStore,
        sessions: SessionStore,
        audit: AuditLog,
    ) -> None:
        self._app = app
        self._settings = settings
        self._keys = keys
        self._sessions = sessions
        self._audit = audit
        self._rates = RateLimiter()

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer a call, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call, began, answered = HTTPConnection(scope), time.monotonic(), False

        def note(status: int, headers: MutableHeaders) -> None:
            # Before the head goes out: no caller hears of a change of which there is no line.
            nonlocal answered
            answered = True
            self._write_down(call, status, headers, began)

        shared = bool(self._settings.cors_origins)
        guarded = with_security_headers(send, shared=shared, on_start=note)
        state = scope.setdefault("state", {})
        try:
            if scope["path"] not in HEALTH_PATHS:
                state[STATE] = caller = self._identify(call)
                self._admit(call, caller)
                if caller and caller.key and caller.key.max_slide_bytes is not None:
                    receive = bounded(receive, caller.key.max_slide_bytes)
            if has_small_body(call):
                receive = await read_small_body(receive, longest_body(call))
            await self._app(scope, receive, guarded)
        except ServiceError as error:
            refusal = await handle_known(Request(scope), error)
            await refusal(scope, receive, guarded)
        except Exception as error:
            # Left to Starlette it would be answered without headers and without a line.
            if not answered:
                refusal = await handle_unexpected(Request(scope), error)
                await refusal(scope, receive, guarded)
            raise

    def _identify(self, call: HTTPConnection) -> Caller | None:
        """Return who calls: by key, else by session, else as somebody on this machine; None if nobody knows.

        Raises:
            KeyNeededError: when the key sent is none of ours: better than to go on as somebody else.
        """
        sent = call.headers.get("authorization")
        if sent is not None:
            scheme, _, text = sent.partition(" ")
            key = self._keys.find(text.strip()) if scheme.lower() == "bearer" else None
            if key is None:
                raise KeyNeededError("The key in the Authorization header is not valid here, or has expired.")
            return Caller.of_key(key)
        session = self._sessions.find(call.cookies.get(COOKIE, ""))
        if session is not None:
            return Caller.of_key(session)
        return LOCAL if is_local(call) and not self._settings.require_key else None

    def _admit(self, call: HTTPConnection, caller: Caller | None) -> None:
        """Check that the call may go on.

        Raises:
            HostNotAllowedError: when it names another host.
            OriginNotAllowedError: when another origin's page sent it.
            MetricsOffError: when it asks for metrics and there are none.
            KeyNeededError: when it needs a key and has none.
            ScopeMissingError: when its key does not allow it.
            RateLimitedError: when its key has used up its calls.
            SlideTooLargeError: when it announces more bytes than its key may send.
        """
        path, settings = call.scope["path"], self._settings
        require_known_host(call, settings.allowed_hosts)
        require_own_page(call, settings.cors_origins)
        needed = scope_needed(call.scope["method"], path)
        if path == METRICS_PATH and settings.metrics != "key":
            if settings.metrics == "off":
                raise MetricsOffError("There are no metrics here: DAREFINE_METRICS is off.")
            return
        if needed is not None and caller is None:
            raise KeyNeededError(
                "Send a key as `Authorization: Bearer <key>`, or log in on the page. The service's "
                "administrator makes keys with `darefine keys add`."
            )
        if needed is not None and caller is not None and not caller.scope.covers(needed):
            raise ScopeMissingError(
                f"This key may {caller.scope}; the call needs one that may {needed}. "
                "Ask the service's administrator."
            )
        if caller is not None and caller.key is not None:
            self._rates.count(caller.key)
            if caller.key.max_slide_bytes is not None:
                require_body_size(call.headers.get("content-length"), caller.key.max_slide_bytes)

    def _write_down(self, call: HTTPConnection, status: int, headers: MutableHeaders, began: float) -> None:
        """Write the audit line of a call that changes something, as its answer begins."""
        if call.scope["method"] in SAFE_METHODS:
            return
        # From the state: a login says only in its body who calls.
        caller: Caller | None = call.scope["state"].get(STATE)
        made: Mapping[str, str] = {"made": headers["location"]} if "location" in headers else {}
        self._audit.write(
            who=caller.name if caller else None,
            method=call.scope["method"],
            path=call.scope["path"],
            status=status,
            source=call.client.host if call.client else None,
            ms=round(1000 * (time.monotonic() - began)),
            **made,
        )
