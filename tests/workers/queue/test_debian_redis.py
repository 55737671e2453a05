"""Debian's redis-server as the queue: over TLS with a user of few rights; as a cluster it is refused."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.workers.conftest import Bench, Queue, Workers
from tests.workers.queue.test_failover import free_port
from workers.errors import QueueUnavailableError
from workers.jobs import JobState
from workers.queue.client import JobClient
from workers.queue.connection import connect
from workers.settings import WorkerSettings
from workers.work_limits import WorkLimits

pytestmark = pytest.mark.slow

USER = "user darefine on >secret ~darefine:* ~rq:* resetchannels +@all -@dangerous +info"
"""The rule of docs/deploy/queue-server.md."""


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[int]:
    """A server that takes `{port}` in its options for a free port; skipped where there is none."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    port = free_port()
    command = [program, "--dir", str(folder), *(option.format(port=port) for option in options)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield port
        finally:
            process.kill()


def certificates(folder: Path) -> None:
    """Make an authority of our own (ca.pem), and a certificate of it for 127.0.0.1 (server.pem and .key)."""
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1")
    extra = ("-extfile", "san", "-out", "server.pem")
    new_key = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
    for command in (
        ("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=lab"),
        ("req", *new_key[:3], "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=queue"),
        ("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", *extra),
    ):
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def tls_url(tmp_path: Path) -> Iterator[str]:
    """URL of a server that speaks TLS alone and knows one user."""
    certificates(tmp_path)
    (tmp_path / "users.acl").write_text(f"user default off\n{USER}\n")
    tls = ("--tls-cert-file", "server.pem", "--tls-key-file", "server.key", "--tls-ca-cert-file", "ca.pem")
    options = ("--port", "0", "--tls-port", "{port}", "--tls-auth-clients", "no", "--aclfile", "users.acl")
    with redis_server(tmp_path, *options, *tls) as port:
        url = f"rediss://darefine:secret@127.0.0.1:{port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}"
        with connect(url) as redis:
            Bench.wait_until(lambda: reachable(redis), "the server")
        yield url


def reachable(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False


def test_jobs_run_over_tls_as_a_user_of_few_rights(tls_url: str, tmp_path: Path) -> None:
    settings = WorkerSettings(data_dir=tmp_path / "data", redis_url=tls_url)
    workers = Workers(settings)
    with connect(tls_url) as redis:
        bench = Bench(Queue.of(redis, settings), settings)
        bench.queue.client.require_suitable()
        job = bench.submit(patches=2)
        assert workers.start(WorkLimits(max_idle_s=0)).wait(60) == 0
        assert bench.state(job) is JobState.SUCCEEDED
        bench.queue.client.delete(job.id)
        with pytest.raises(NoPermissionError):
            redis.flushall()
        with pytest.raises(NoPermissionError):
            redis.get("others")
    workers.stop()


def test_who_is_not_that_user_or_does_not_know_the_authority_is_refused(tls_url: str, tmp_path: Path) -> None:
    with connect(tls_url.replace("secret", "guess")) as stranger:
        with pytest.raises(AuthenticationError):
            stranger.ping()
        with pytest.raises(QueueUnavailableError, match="refuses us"):
            JobClient(stranger, tmp_path).require_suitable()
    with (
        connect(tls_url.partition("?")[0]) as trusting,
        pytest.raises(RedisConnectionError, match="certificate"),
    ):
        trusting.ping()


def test_a_cluster_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--port", "{port}", "--cluster-enabled", "yes", "--save", "") as port:
        url = f"redis://127.0.0.1:{port}/0"
        with connect(url) as redis:
            Bench.wait_until(lambda: reachable(redis), "the server")
        command = [sys.executable, "-m", "darefine", "worker"]
        environment = {**os.environ, "DAREFINE_REDIS_URL": url, "DAREFINE_DATA_DIR": str(tmp_path)}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 1
        assert "Redis Cluster" in done.stderr
