"""The faults: what is done to a running service, and how often."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from ..cluster import Cluster

LEASE_S = 3.0
PAST_LEASE_S = LEASE_S + 2
QUEUE_CUT_S = 12.0
FULL_S = 5.0

Injection = Callable[[Cluster, random.Random], bool]
"""Do it, and return whether there was anything to do it to."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault. Of all faults a share in proportion to `weight` is of this kind."""

    name: str
    weight: int
    inject: Injection


def faults_of(disk: Path | None) -> tuple[Fault, ...]:
    """Return the kinds of faults; a full disk is one of them if `disk` is a disk of its own."""
    kinds = [
        Fault("kill -9 of an engine", 30, partial(_kill, part="engine")),
        Fault("kill -9 of a worker", 30, partial(_kill, part="worker")),
        Fault("kill -9 of the API", 20, partial(_kill, part="API")),
        Fault("kill -9 of the queue", 10, partial(_kill, part="queue")),
        Fault("kill -9 of a host", 4, partial(_end_host, number=signal.SIGKILL)),
        Fault("SIGTERM of a host", 4, partial(_end_host, number=signal.SIGTERM)),
        Fault("worker frozen past its lease", 3, partial(_freeze, part="worker", seconds=PAST_LEASE_S)),
        Fault("engine frozen past the lease", 3, partial(_freeze, part="engine", seconds=PAST_LEASE_S)),
        Fault("queue silent for 12 s", 2, partial(_freeze, part="queue", seconds=QUEUE_CUT_S)),
    ]
    if disk is not None:
        kinds.append(Fault("disk full for 5 s", 3, partial(_fill, disk=disk)))
    return tuple(kinds)


def _some(cluster: Cluster, rng: random.Random, part: str) -> psutil.Process | None:
    found = [process for host in cluster.hosts for process in host.parts(part)]
    return rng.choice(found) if found else None


def _kill(cluster: Cluster, rng: random.Random, part: str) -> bool:
    process = _some(cluster, rng, part)
    if process is None:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()
    return True


def _freeze(cluster: Cluster, rng: random.Random, part: str, seconds: float) -> bool:
    process = _some(cluster, rng, part)
    if process is None:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        process.suspend()
        time.sleep(seconds)
        process.resume()
    return True


def _end_host(cluster: Cluster, rng: random.Random, number: signal.Signals) -> bool:
    host = rng.choice(cluster.hosts)
    if not host.runs():
        return False
    host.end(number)
    host.start()
    return True


def _fill(cluster: Cluster, rng: random.Random, disk: Path) -> bool:  # noqa: ARG001 - as the others
    with full(disk):
        time.sleep(FULL_S)
    return True


@contextlib.contextmanager
def full(disk: Path) -> Iterator[None]:
    """Leave no room on a disk meanwhile."""
    ballast = disk / "ballast"
    try:
        with ballast.open("wb") as file:
            size, end = 1 << 30, 0
            while size >= 1 << 12:
                try:
                    os.posix_fallocate(file.fileno(), end, size)
                    end += size
                except OSError:
                    size //= 2
        yield
    finally:
        ballast.unlink(missing_ok=True)
