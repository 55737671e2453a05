"""Requests to one service: every refusal and every silence becomes an error of the client."""

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

import httpx
from pydantic import ValidationError

from .answers import Answer
from .errors import AnswerInvalidError, ServiceRefusedError, ServiceUnreachableError, seconds

A = TypeVar("A", bound=Answer)
T = TypeVar("T")

AWAY = {502, 503, 504}
"""Statuses of a service, or of the proxy before it, that is away for a moment."""

PAUSE_S = 0.5
"""Pause before a request is tried again where no Retry-After says how long; it doubles, up to the longest."""

LONGEST_PAUSE_S = 8.0


class Connection:
    """HTTP to one service; may be used from several threads.

    Args:
        url: of the service, without `/v1`.
        headers: sent with every request.
        patience_s: seconds that `patiently` bears a service that has answered before and now does not.
        sleep: how to pause.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str] | None, patience_s: float, sleep: Callable[[float], object]
    ) -> None:
        self.url = url
        self.sleep = sleep
        self._patience_s = patience_s
        self._answered_at: float | None = None
        self._http = httpx.Client(
            base_url=url, headers=headers, timeout=httpx.Timeout(30, read=300, write=300, pool=None)
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(self, method: str, path: str, **details: Any) -> httpx.Response:
        """Send a request and return a good answer, read.

        Raises:
            ServiceUnreachableError: when nobody answers.
            ServiceRefusedError: for any other answer.
        """
        with self.stream(method, path, **details) as response:
            response.read()
            return response

    @contextlib.contextmanager
    def stream(self, method: str, path: str, **details: Any) -> Iterator[httpx.Response]:
        """Send a request and yield a good answer whose body is still to be read.

        Raises:
            ServiceUnreachableError: when nobody answers, or the connection breaks inside the context.
            ServiceRefusedError: for any other answer.
        """
        with self._telling(), self._http.stream(method, path, **details) as response:
            self._answered_at = time.monotonic()
            if not response.is_success:
                response.read()
                raise ServiceRefusedError(response)
            yield response

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Turn what httpx raises into an error of the client."""
        try:
            yield
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise ServiceUnreachableError(
                f"{self.url} does not answer ({error}). Start a service with `darefine serve`, or correct "
                "the address."
            ) from error

    def ask(self, kind: type[A], method: str, path: str, **details: Any) -> A:
        """Send a request and return its JSON as a value of `kind`.

        Raises:
            ServiceUnreachableError: when nobody answers.
            ServiceRefusedError: when the service refuses.
            AnswerInvalidError: when the answer is none of a darefine service.
        """
        return self.read(kind, self.request(method, path, **details))

    def read(self, kind: type[A], response: httpx.Response) -> A:
        """Return the JSON of an answer as a value of `kind`.

        Raises:
            AnswerInvalidError: when it is something else.
        """
        try:
            return kind.model_validate_json(response.content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the document"
            raise AnswerInvalidError(
                f"{self.url} does not answer as a darefine service of this version does ({where}: "
                f"{first['msg']}). Check the address."
            ) from error

    def patiently(self, call: Callable[[], T], *, away: Collection[int] = AWAY) -> T:
        """Call `call` again while the service is away; an address that never answered is not waited for.

        So a restart of the service goes unnoticed. Each answer, even a broken one, renews the patience. The
        statuses `away` are those after which it is worth to call again.

        Raises:
            ServiceUnreachableError: when it stays away.
            ServiceRefusedError: when it refuses, or says for too long that it is away.
        """
        failed_at = away_since = 0.0
        pause_s = PAUSE_S
        while True:
            try:
                return call()
            except (ServiceUnreachableError, ServiceRefusedError) as error:
                if self._answered_at is None or (
                    isinstance(error, ServiceRefusedError) and error.status not in away
                ):
                    raise
                now = time.monotonic()
                came_back = isinstance(error, ServiceUnreachableError) and self._answered_at > failed_at
                if came_back or not away_since:
                    away_since, pause_s = now, PAUSE_S
                if now - away_since > self._patience_s:
                    raise
                failed_at = now
                self.sleep(getattr(error, "retry_after_s", None) or pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    @staticmethod
    def pause_of(response: httpx.Response) -> float:
        """Return how many seconds the service asks to wait before the next request."""
        return seconds(response.headers.get("retry-after")) or PAUSE_S
