"""A replica is promoted in the middle of many jobs, and the old primary lives on as a replica."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from tests import ROOT
from tests.workers.conftest import STAND_IN, Bench, Queue
from workers.jobs import JobState
from workers.queue.connection import connect, unix_url
from workers.settings import WorkerSettings
from workers.supervisor.valkey import server_program

JOBS = 20
HELD = (3, 4)
"""Jobs that run on the two workers while the replica takes over; the later ones wait."""

SOCKET = "s"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def server(folder: Path, *options: str) -> Iterator[Redis]:
    """A server on a port of its own."""
    folder.mkdir()
    port = free_port()
    program = [str(server_program()), "--port", str(port), "--unixsocket", str(folder / SOCKET)]
    command = [*program, "--dir", str(folder), "--save", "", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        redis = Redis(port=port)
        try:
            Bench.wait_until(lambda: answers(redis), "a server")
            yield redis
        finally:
            redis.close()
            process.kill()


def answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False


def move(address: Path, folder: Path) -> None:
    """Let the one address that clients know lead to another server: connections that they hold stay."""
    fresh = address.with_suffix(".new")
    fresh.symlink_to(folder / SOCKET)
    fresh.replace(address)


def port_of(redis: Redis) -> int:
    port: int = redis.connection_pool.connection_kwargs["port"]
    return port


@contextmanager
def supervised(settings: WorkerSettings, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Stand-in workers under a supervisor that logs to a file."""
    command = [sys.executable, str(STAND_IN / "stand_in_supervisor.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings.environment()}
    with log.open("wb") as file, subprocess.Popen(command, env=environment, stderr=file) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_nothing_is_lost_when_a_replica_takes_over(tmp_path: Path) -> None:
    with (
        server(tmp_path / "a") as old,
        server(tmp_path / "b", "--replicaof", f"127.0.0.1 {port_of(old)}") as new,
    ):
        Bench.wait_until(lambda: new.info("replication")["master_link_status"] == "up", "replication")
        address, log = tmp_path / "address", tmp_path / "log"
        move(address, tmp_path / "a")
        url = unix_url(address)
        settings = WorkerSettings(
            data_dir=tmp_path / "data", redis_url=url, workers=2, lease_s=3, lost_after_s=0.5
        )
        with connect(url) as redis, supervised(settings, log):
            bench = Bench(Queue.of(redis, settings), settings)
            jobs = [bench.submit(patches=2, hold=number in HELD) for number in range(JOBS)]
            for number in HELD:
                bench.wait_for_file(jobs[number], "patch-0")
            old.wait(1, 5000)
            new.replicaof("NO", "ONE")
            old.replicaof("127.0.0.1", port_of(new))
            move(address, tmp_path / "b")
            # The client of this test holds a connection to the old primary, as the API would.
            late = bench.submit(patches=1)
            for number in HELD:
                (Path(jobs[number].directory) / "go").touch()
            bench.wait_until(
                lambda: bench.queue.client.counts()[JobState.SUCCEEDED] == JOBS + 1, "the end of all jobs"
            )
            ended = [bench.queue.client.get(job.id) for job in (*jobs, late)]
            assert {(job.state, job.attempt) for job in ended} == {(JobState.SUCCEEDED, 1)}
            assert new.info("replication")["role"] == "master"
            told = log.read_text(encoding="utf-8")
            assert "ended with exit code" not in told, told
