"""Limit how often and how much a caller may send."""

import time
from collections.abc import Callable

from starlette.types import Message, Receive

from ..errors import RateLimitedError, SlideTooLargeError
from .keys import ApiKey


class RateLimiter:
    """Counts the calls of each key: a bucket that holds a minute's calls and fills evenly."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def count(self, key: ApiKey) -> None:
        """Count one call of `key`.

        Raises:
            RateLimitedError: when it has used up its calls.
        """
        per_minute = key.calls_per_minute
        if per_minute is None:
            return
        now = self._clock()
        left, then = self._buckets.get(key.id, (float(per_minute), now))
        left = min(per_minute, left + (now - then) * per_minute / 60)
        if left < 1:
            raise RateLimitedError(per_minute, retry_s=(1 - left) * 60 / per_minute)
        self._buckets[key.id] = (left - 1, now)


def require_body_size(declared: str | None, limit: int) -> None:
    """Check Content-Length against a key's limit, in bytes.

    Raises:
        SlideTooLargeError: when the client says that it sends more.
    """
    if declared is not None and declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)


def bounded(receive: Receive, limit: int) -> Receive:
    """Return `receive`, raising SlideTooLargeError once a body has more than `limit` bytes."""
    received = 0

    async def receive_within() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise _too_large(limit)
        return message

    return receive_within


def _too_large(limit: int) -> SlideTooLargeError:
    return SlideTooLargeError(f"This key may send at most {limit} bytes at a time; ask for a larger limit.")
