"""Connect to the queue server, patiently or not."""

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from redis import Redis, exceptions
from redis.backoff import ConstantBackoff, ExponentialWithJitterBackoff
from redis.retry import Retry

RETRIED = [
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.BusyLoadingError,
    exceptions.ReadOnlyError,
]
"""Errors after which a call is tried again, on a new connection.

A server that has become a replica refuses to write; by then the queue's address leads to the new primary.
"""


def connect(url: str) -> Redis:
    """Return a connection that gives up soon, with `redis.exceptions.RedisError`.

    A server that is gone gets half a second, one that hangs (does not answer for a second) one more try. For
    whoever has something better to do than to wait: a request to answer, a pipe to listen to.
    """
    # No health checks: each is a call of its own, with time-outs and tries of its own.
    return _connect(url, Retry(ConstantBackoff(0.5), 1), timeout_s=1, health_check_s=0)


def connect_patiently(url: str) -> Redis:
    """Return a connection that sits out an outage of about a minute.

    For RQ's own bookkeeping, which ends the worker on an error.
    """
    return _connect(
        url, Retry(ExponentialWithJitterBackoff(cap=3.0, base=0.2), 25), timeout_s=5, health_check_s=15
    )


def without_password(url: str) -> str:
    """Return a queue's URL for people and logs.

    A password in it, before the host or in the query, reads `***`.
    """
    hidden = re.sub(r"^([^:]+://[^:/@]*:).*@", r"\1***@", url)
    return re.sub(r"([?&]password=)[^&]*", r"\1***", hidden)


def _connect(url: str, retry: Retry, *, timeout_s: float, health_check_s: int) -> Redis:
    return Redis.from_url(
        url,
        retry=retry,
        retry_on_error=RETRIED,
        health_check_interval=health_check_s,
        socket_connect_timeout=timeout_s,
        socket_timeout=timeout_s,
    )


def text(reply: Any) -> str:
    """Decode a reply of the server; RQ needs connections that leave replies as bytes.

    What is not Unicode was not written by us; it becomes text that nothing is found by.
    """
    decoded: str = reply.decode(errors="replace")
    return decoded


def unix_url(socket: Path) -> str:
    """Return the redis-py URL of a unix socket."""
    return f"unix://{quote(str(socket))}"


LONGEST_SOCKET_PATH = 100
"""Longest path of a unix socket, in bytes.

sun_path has 108 on Linux and 104 on macOS, and Valkey needs a terminating zero.
"""


def socket_path(directory: Path) -> Path:
    """Return the socket of the server of `directory`.

    It lies inside the folder, or in a short folder of this user's if that path would be too long.
    """
    inside = directory / "valkey.sock"
    if len(os.fsencode(inside)) <= LONGEST_SOCKET_PATH:
        return inside
    short = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return Path(short) / f"darefine-{os.getuid()}" / f"{name}.sock"
