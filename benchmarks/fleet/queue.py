"""A queue server over TCP with a password, and what it is asked."""

import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from darefine.cli.demo import free_port
from workers.queue.connection import connect
from workers.supervisor.valkey import server_program

START_S = 30.0


@contextmanager
def tcp_queue(folder: Path) -> Iterator[str]:
    """Run a server that keeps nothing; yield its URL.

    Raises:
        TimeoutError: when it does not answer within START_S.
    """
    port, password = free_port(), secrets.token_hex(8)
    where = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    command = [str(server_program()), *where, "--requirepass", password, "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    try:
        deadline = time.monotonic() + START_S
        while not _answers(url):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the queue did not answer within {START_S:.0f} s")
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with connect(url) as redis:
            return bool(redis.ping())
    except RedisError:
        return False


@dataclass
class Commands:
    """Commands that a server got: those that clients sent, and all that it ran, inside of scripts too."""

    sent: int = 0
    run: int = 0


@contextmanager
def counted_commands(url: str) -> Iterator[Commands]:
    """Count the commands of all clients meanwhile."""
    counted = Commands()
    watching, stop = threading.Event(), threading.Event()

    def watch() -> None:
        with Redis.from_url(url) as redis, redis.monitor() as monitor:
            watching.set()
            for command in monitor.listen():
                if stop.is_set():
                    return
                counted.run += 1
                counted.sent += command["client_type"] != "lua"

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    watching.wait()
    try:
        yield counted
    finally:
        stop.set()
        # The watcher notices at the next command.
        with suppress(RedisError), connect(url) as redis:
            redis.ping()
        thread.join()
