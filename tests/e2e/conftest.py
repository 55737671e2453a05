"""Whole service for end-to-end tests: supervisor, embedded Valkey, uvicorn, a worker with a tiny network."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from benchmarks.cards import write_tiny_card
from darefine.cli.demo import free_port, own_environment
from darefine.client import Client
from wsi.phantom import PhantomFiles, write_phantom

READY_S = 180


@dataclass
class RunningService:
    """A service under test and the processes it is made of."""

    url: str
    data_dir: Path
    process: psutil.Process

    def part(self, needle: str) -> psutil.Process:
        """The one descendant process whose command line holds `needle`."""
        found = [p for p in self.process.children(recursive=True) if needle in " ".join(p.cmdline())]
        assert len(found) == 1, f"{needle}: {[p.cmdline() for p in self.process.children(recursive=True)]}"
        return found[0]

    def wait_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        with Client(self.url) as client:
            while not client.ready():
                assert self.process.is_running(), "the supervisor ended"
                assert time.monotonic() < deadline, "not ready"
                time.sleep(0.1)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Card of a tiny network of random weights; its labels mean nothing but are always the same."""
    return write_tiny_card(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def slide_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder whose slides the service may read in place."""
    return tmp_path_factory.mktemp("nas")


@contextmanager
def started_service(
    data_dir: Path, card: Path, log: Path, environment: Mapping[str, str]
) -> Iterator[RunningService]:
    """`darefine serve` on a free port, stopped in the end. Its last log lines are shown when a test fails."""
    port = free_port()
    command = [sys.executable, "-m", "darefine", "serve", "--port", str(port), "--weights", str(card)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**own_environment(), "DAREFINE_DATA_DIR": str(data_dir), **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        running = RunningService(f"http://127.0.0.1:{port}", data_dir, psutil.Process(process.pid))
        try:
            running.wait_ready()
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=90)
            sys.stdout.write(log.read_text(errors="replace")[-8000:])


@pytest.fixture(scope="session")
def service(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, slide_root: Path
) -> Iterator[RunningService]:
    """The service that most tests use."""
    folder = tmp_path_factory.mktemp("data")
    environment = {"DAREFINE_SLIDE_ROOTS": str(slide_root)}
    with started_service(folder / "state", tiny_model, folder / "service.log", environment) as running:
        yield running


@pytest.fixture
def client(service: RunningService) -> Iterator[Client]:
    """A client of the running service; it asks more often than users need, to meet a job in its middle."""
    with Client(service.url, sleep=lambda seconds: time.sleep(min(seconds, 0.2))) as client:
        yield client


@pytest.fixture(scope="session")
def small_phantom(tmp_path_factory: pytest.TempPathFactory) -> PhantomFiles:
    """A phantom slide of one patch."""
    return write_phantom(tmp_path_factory.mktemp("small") / "small.tif", size_px=4096, seed=5)


@pytest.fixture(scope="session")
def large_phantom(tmp_path_factory: pytest.TempPathFactory) -> PhantomFiles:
    """A phantom slide of nine patches: long enough to be interrupted."""
    return write_phantom(tmp_path_factory.mktemp("large") / "large.tif", size_px=12_288, seed=6)
