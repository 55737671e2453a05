"""A real Valkey, and real worker processes around a stand-in pipeline."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from redis import Redis

from tests import ROOT
from workers.jobs import Job, JobRequest, JobState, Priority
from workers.queue.client import JobClient
from workers.queue.connection import connect
from workers.queue.lease import JobLease
from workers.queue.registry import WorkerRegistry
from workers.queue.rq_lists import RqLists
from workers.settings import WorkerSettings
from workers.supervisor.valkey import EmbeddedValkey
from workers.work_limits import WorkLimits
from wsi.atomic import write_atomically

STAND_IN = Path(__file__).parent / "stand_in"
PATIENCE_S = 90.0
FINAL = tuple(state for state in JobState if state.is_final)


@pytest.fixture(scope="session")
def session_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """One server for all tests that do not harm it."""
    valkey = EmbeddedValkey(tmp_path_factory.mktemp("valkey"))
    valkey.start()
    yield valkey
    valkey.stop()


@pytest.fixture
def valkey(session_valkey: EmbeddedValkey) -> Iterator[EmbeddedValkey]:
    """The shared server, emptied."""
    with connect(session_valkey.url) as redis:
        redis.flushall()
    return session_valkey


@pytest.fixture
def mortal_valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A server that the test may kill; its state stays."""
    valkey = EmbeddedValkey(tmp_path / "queue")
    valkey.start()
    yield valkey
    valkey.stop()


@pytest.fixture
def settings(valkey: EmbeddedValkey, tmp_path: Path) -> WorkerSettings:
    """Settings of workers on the shared server."""
    return quick_settings(valkey, tmp_path)


def quick_settings(valkey: EmbeddedValkey, data_dir: Path) -> WorkerSettings:
    """Settings with leases short enough to wait for."""
    return WorkerSettings(
        data_dir=data_dir,
        redis_url=valkey.url,
        lease_s=1.5,
        heartbeat_s=0.1,
        cancel_grace_s=0.5,
        lost_after_s=0.3,
        stop_grace_s=5.0,
    )


@dataclass(frozen=True)
class Queue:
    """What API, worker and supervisor each have a part of, on one connection."""

    redis: Redis
    client: JobClient
    lease: JobLease
    lists: RqLists
    registry: WorkerRegistry

    @classmethod
    def of(cls, redis: Redis, settings: WorkerSettings) -> "Queue":
        """Return the parts on a connection."""
        lease = JobLease(redis, settings.jobs_dir, lease_s=settings.lease_s, max_crashes=settings.max_crashes)
        return cls(redis, JobClient(redis, settings.jobs_dir), lease, RqLists(redis), WorkerRegistry(redis))


@pytest.fixture
def queue(settings: WorkerSettings) -> Iterator[Queue]:
    """The queue on the shared server."""
    assert settings.redis_url
    with connect(settings.redis_url) as redis:
        yield Queue.of(redis, settings)


class Workers:
    """Starts stand-in workers and sees to it that none is left."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, limits: WorkLimits | None = None, **changes: object) -> "subprocess.Popen[bytes]":
        """One more worker process."""
        arguments = (limits or WorkLimits()).to_arguments()
        settings = self._settings.model_copy(update=changes)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings.environment()}
        command = [sys.executable, str(STAND_IN), *arguments]
        process = subprocess.Popen(command, env=environment, start_new_session=True)
        self._processes.append(process)
        return process

    def stop(self) -> None:
        """Kill what still runs; engine processes follow by themselves."""
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.fixture
def workers(settings: WorkerSettings) -> Iterator[Workers]:
    """Workers on the shared server."""
    workers = Workers(settings)
    yield workers
    workers.stop()


REQUEST = JobRequest(slide_id="5" * 24, slide_name="a.svs", slide_path="/slides/a.svs", model="stand-in")


def store_slide(slides: Path, path: str | Path) -> str:
    """Register a slide in place as the service does; return its id."""
    slide_id = hashlib.sha256(str(path).encode()).hexdigest()[:24]
    record = slides / slide_id / "slide.json"
    if not record.exists():
        record.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(record, json.dumps({"path": str(path), "sha256": None}).encode())
    return slide_id


class Bench:
    """Submits jobs whose stand-in pipeline does as told, and looks at what it left."""

    @staticmethod
    def wait_until(holds: Callable[[], object], what: str) -> None:
        """Poll `holds`; the limit only ends a test that would hang."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, f"never came: {what}"
            time.sleep(0.02)

    @staticmethod
    def is_alive(pid: int) -> bool:
        """Whether a process runs (a zombie does not)."""
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False

    def __init__(self, queue: Queue, settings: WorkerSettings) -> None:
        self.queue = queue
        self._settings = settings

    def submit(
        self, priority: Priority = "normal", slide_path: str = REQUEST.slide_path, **plan: object
    ) -> Job:
        """A job; see `stand_in_engine.Plan` for what it can be told."""
        slide_id = store_slide(self._settings.slides_dir, slide_path)
        request = replace(REQUEST, slide_id=slide_id, slide_name=json.dumps(plan), priority=priority)
        return self.queue.client.submit(request)

    def state(self, job: Job) -> JobState:
        """The job's state now."""
        return self.queue.client.get(job.id).state

    def wait(self, job: Job, state: JobState) -> Job:
        """The job once it is in `state`."""
        self.wait_until(lambda: self.state(job) in (state, *FINAL), f"{state} of {job}")
        found = self.queue.client.get(job.id)
        assert found.state is state, found
        return found

    def wait_for_file(self, job: Job, name: str) -> Path:
        """A file of the job, once the pipeline has written it."""
        path = Path(job.directory) / name
        self.wait_until(path.exists, f"{name} of {job}")
        return path

    def starts(self, job: Job) -> list[int]:
        """Process ids of the engine processes that ran the job, in order."""
        path = Path(job.directory) / "starts"
        return [int(line) for line in path.read_text().split()] if path.exists() else []


@pytest.fixture
def bench(queue: Queue, settings: WorkerSettings) -> Bench:
    """Jobs on the shared server."""
    return Bench(queue, settings)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One worker on a server of its own, for all tests that leave the worker alive."""
    folder = tmp_path_factory.mktemp("shop")
    valkey = EmbeddedValkey(folder / "queue")
    valkey.start()
    settings = quick_settings(valkey, folder)
    workers = Workers(settings)
    workers.start()
    with connect(valkey.url) as redis:
        yield Bench(Queue.of(redis, settings), settings)
    workers.stop()
    valkey.stop()
