"""Two hosts of one service: `darefine serve` with its worker, and `darefine worker` on the same queue."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import psutil

from darefine.cli.demo import free_port, own_environment
from darefine.client import Client
from workers.supervisor.valkey import EmbeddedValkey

START_S = 120.0
STOP_S = 60.0

PARTS = {
    "worker": "-m workers",
    "engine": "multiprocessing.spawn",
    "API": "uvicorn",
    "queue": "valkey-server",
}
"""Processes of a host, and how their command lines are told from each other."""


class Host:
    """A program with its children; started again at will.

    Args:
        command: of darefine, such as `serve`.
        environment: its settings.
        log: what it says goes to the end of this file.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._command = [sys.executable, "-m", "darefine", *command]
        self._environment = {**own_environment(), "DAREFINE_THREADS": "1", **environment}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the program."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=output, stderr=subprocess.STDOUT
            )

    def runs(self) -> bool:
        """Return whether the program itself runs."""
        return self._process is not None and self._process.poll() is None

    def end(self, number: signal.Signals) -> None:
        """Send a signal and wait for the end; after STOP_S it is killed."""
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def parts(self, name: str) -> list[psutil.Process]:
        """Return the running processes of a part, one of PARTS; of engines those that a worker started."""
        if self._process is None:
            return []
        descendants = _descendants(self._process.pid)
        if name == "engine":
            descendants = [child for worker in self.parts("worker") for child in _descendants(worker.pid)]
        return [process for process in descendants if PARTS[name] in _command_line(process)]


class Cluster:
    """The service: API, queue and a worker on one host, a worker on another.

    Args:
        disk: where the data folder goes.
        card: of the network.
        slides: folder of the slides, read in place.
        log: of both hosts.
        settings: more environment of both.
    """

    def __init__(
        self,
        disk: Path,
        card: Path,
        slides: Path,
        log: Path,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.data_dir = disk / "data"
        port = free_port()
        self.client = Client(f"http://127.0.0.1:{port}", patience_s=600)
        folders = {"DAREFINE_DATA_DIR": str(self.data_dir), "DAREFINE_WEIGHTS_DIR": str(card.parent)}
        # The sandbox of each host's engine opens these folders, too.
        shared = {**settings, **folders, "DAREFINE_SLIDE_ROOTS": str(slides)}
        self.jobs_dir = self.data_dir / "jobs"
        self.queue_url = EmbeddedValkey(self.data_dir / "queue").url
        self.hosts = [
            Host(["serve", "--port", str(port)], shared, log),
            Host(["worker"], {**shared, "REDIS_URL": self.queue_url}, log),
        ]

    def start(self) -> None:
        """Start what does not run, and return once the service would run a job.

        Raises:
            TimeoutError: when that takes longer than START_S.
        """
        for host in self.hosts:
            if not host.runs():
                host.start()
        wait_until_ready(self.client)

    def stop(self) -> None:
        """End both hosts as SIGTERM does, the queue's last."""
        for host in reversed(self.hosts):
            host.end(signal.SIGTERM)

    def orphans(self) -> list[str]:
        """Return the command lines of processes that still work on the data folder."""
        ours = str(self.data_dir)
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("DAREFINE_DATA_DIR") == ours or ours in _command_line(process):
                    found.append(_command_line(process))
        return found


def wait_until_ready(client: Client) -> None:
    """Return once a service that starts would run a job.

    Raises:
        TimeoutError: when that takes longer than START_S.
    """
    deadline = time.monotonic() + START_S
    while not client.ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not ready after {START_S:.0f} s")
        time.sleep(0.1)


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
