"""Connections to the queue server."""

from typing import Any

from redis import Redis, exceptions
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

RETRIED = [exceptions.ConnectionError, exceptions.TimeoutError, exceptions.BusyLoadingError]


def connect(url: str) -> Redis:
    """A connection that gives an outage about a second, then raises `redis.exceptions.RedisError`.

    For whoever has something better to do than to wait: a request to answer, a pipe to listen to.
    """
    return _connect(url, Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), 4))


def connect_patiently(url: str) -> Redis:
    """A connection that sits out an outage of about a minute: for RQ's own bookkeeping, which ends the worker on an error."""
    return _connect(url, Retry(ExponentialWithJitterBackoff(cap=3.0, base=0.2), 25))


def _connect(url: str, retry: Retry) -> Redis:
    return Redis.from_url(
        url,
        retry=retry,
        retry_on_error=RETRIED,
        health_check_interval=15,
        socket_connect_timeout=5,
        socket_timeout=5,
    )


def text(reply: Any) -> str:
    """A string of the server as text; RQ needs connections that leave replies as bytes."""
    decoded: str = reply.decode()
    return decoded
