"""Signed messages to a real receiver: what is told, that none is lost, and whom nobody may reach."""

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook as Verifier

import service.webhooks.sender
from service.settings import ServiceSettings
from service.webhooks.networks import AllowedNetworks
from tests import ROOT
from tests.doc_pages import code_blocks
from workers.jobs import JobRequest, Problem, Progress
from workers.queue.client import JobClient
from workers.queue.connection import connect
from workers.queue.lease import JobLease
from workers.supervisor.valkey import EmbeddedValkey

from .conftest import Api, assert_problem, running_api

REQUEST = JobRequest(slide_id="5" * 24, slide_name="a.svs", slide_path="", model="stand-in")


@dataclass
class Receiver:
    """An HTTP server that keeps what it was sent, and answers as it is told to."""

    url: str
    status: int = 204
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def wait(self, count: int) -> list[dict[str, Any]]:
        """The bodies of the messages once there are `count`."""
        deadline = time.monotonic() + 20
        while len(self.heard) < count:
            assert time.monotonic() < deadline, self.heard
            time.sleep(0.05)
        return [json.loads(body) for _, body in self.heard]


@contextmanager
def receiving() -> Iterator[Receiver]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.heard.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(receiver.status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(f"http://127.0.0.1:{server.server_address[1]}/hook")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield receiver
        server.shutdown()
        thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@dataclass(frozen=True)
class Service:
    """A service of its own, and its queue."""

    valkey: EmbeddedValkey
    settings: ServiceSettings
    queue: JobClient
    lease: JobLease

    def end(self, state: str = "succeeded") -> str:
        """Have a job end."""
        job = self.queue.submit(REQUEST)
        self.lease.start(job.id, 1, "tester")
        if state == "succeeded":
            self.lease.succeed(job.id, 1, Progress(fraction=1.0))
        else:
            self.lease.fail(job.id, 1, Problem("x", "Broken", "It broke."))
        return job.id


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    root: Path = tmp_path_factory.mktemp("hooks")
    valkey = EmbeddedValkey(root / "queue")
    valkey.start()
    networks = (ip_network("127.0.0.0/8"),)
    settings = ServiceSettings(data_dir=root, redis_url=valkey.url, webhook_networks=networks)
    with connect(valkey.url) as redis:
        lease = JobLease(redis, root / "jobs")
        yield Service(valkey, settings, JobClient(redis, root / "jobs"), lease)
    valkey.stop()


@pytest.fixture
def http_client(made: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setattr(service.webhooks.sender, "EVERY_S", 0.1)
    with connect(made.valkey.url) as redis:
        redis.flushall()
    with running_api(made.settings) as client:
        yield client


def hook(client: httpx.Client, url: str, *events: str) -> dict[str, Any]:
    answer = client.post("/v1/webhooks", json={"url": url, "events": list(events)})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def test_a_receiver_is_told_and_can_verify_it(
    made: Service, http_client: httpx.Client, receiver: Receiver
) -> None:
    hooked = hook(http_client, receiver.url)
    job_id, failed_id = made.end(), made.end("failed")
    failed, succeeded = sorted(receiver.wait(2), key=lambda told: str(told["type"]))
    assert (succeeded["type"], succeeded["data"]["id"]) == ("job.succeeded", job_id)
    assert succeeded["data"] == http_client.get(f"/v1/jobs/{job_id}").json()
    assert (failed["type"], failed["data"]["error"]["detail"]) == ("job.failed", "It broke.")
    assert failed["data"]["id"] == failed_id
    for headers, body in receiver.heard:
        Verifier(hooked["secret"]).verify(body, headers)
    assert len({headers["webhook-id"] for headers, _ in receiver.heard}) == 2
    shown = http_client.get(hooked["links"]["self"]).json()
    assert "secret" not in shown
    eventually(lambda: http_client.get(hooked["links"]["self"]).json()["last_delivery"]["status"] == 204)
    assert [one["id"] for one in http_client.get("/v1/webhooks").json()["webhooks"]] == [hooked["id"]]


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_page_does_what_it_says(made: Service, http_client: httpx.Client) -> None:
    page = ROOT / "docs" / "webhooks.md"
    (registers,), (receives,) = code_blocks(page, "bash"), code_blocks(page, "python")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    environment = {**os.environ, "DAREFINE_URL": str(http_client.base_url).rstrip("/")}
    command = ["bash", "-euc", registers.replace("9000", port)]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    environment["SECRET"] = json.loads(answer.stdout)["secret"]
    program = [sys.executable, "-c", receives.replace("9000", port)]
    with subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True) as receiver:
        try:
            assert receiver.stdout is not None
            eventually(lambda: answers(int(port)))
            job_id = made.end()
            assert receiver.stdout.readline() == f"job.succeeded {job_id}\n"
        finally:
            receiver.kill()


def answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_only_wanted_events_and_pings(made: Service, http_client: httpx.Client, receiver: Receiver) -> None:
    hooked = hook(http_client, receiver.url, "job.failed")
    made.end()
    failed = made.end("failed")
    assert http_client.post(hooked["links"]["ping"]).status_code == 202
    told = sorted(receiver.wait(2), key=lambda one: str(one["type"]))
    assert [one["type"] for one in told] == ["job.failed", "ping"]
    assert told[0]["data"]["id"] == failed
    assert http_client.delete(hooked["links"]["self"]).status_code == 204
    made.end("failed")
    time.sleep(0.5)
    assert len(receiver.heard) == 2
    assert_problem(http_client.get(hooked["links"]["self"]), 404, "webhook-not-found")


@pytest.mark.parametrize("status", [500, 302])
def test_a_message_is_sent_until_it_is_taken(
    made: Service,
    http_client: httpx.Client,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
) -> None:
    # A process that dies between two attempts is followed by another.
    receiver.status = status
    hook(http_client, receiver.url)
    with connect(made.valkey.url) as redis:
        made.end()
        receiver.wait(1)
        eventually(
            lambda: float((redis.zrange("darefine:deliveries", 0, 0, withscores=True) or [("", 0)])[0][1]) > 0
        )
        receiver.status = 200
        redis.delete("darefine:turn:webhook-sender")
        (waiting,) = redis.zrange("darefine:deliveries", 0, -1)
        redis.zadd("darefine:deliveries", {waiting: 0})
        receiver.wait(2)
        first, second = (headers["webhook-id"] for headers, _ in receiver.heard)
        assert first == second
        eventually(lambda: not redis.exists("darefine:deliveries") and not redis.keys("darefine:delivery:*"))


def test_what_happens_while_no_service_runs_is_told_later(
    made: Service, http_client: httpx.Client, receiver: Receiver
) -> None:
    hook(http_client, receiver.url)
    with connect(made.valkey.url) as redis:
        redis.set("darefine:turn:webhook-sender", "another, which has died", ex=2)
        job_id = made.end()
        time.sleep(0.5)
        assert receiver.heard == []
        assert receiver.wait(1)[0]["data"]["id"] == job_id
        assert redis.llen("darefine:happened") == 0


def test_a_receiver_that_is_gone_is_forgotten(
    made: Service, http_client: httpx.Client, receiver: Receiver
) -> None:
    receiver.status = 410
    hook(http_client, receiver.url)
    made.end()
    receiver.wait(1)
    eventually(lambda: http_client.get("/v1/webhooks").json() == {"webhooks": []})


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/",
        "http://localhost/",
        "http://10.1.2.3/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[2002:7f00:1::1]/",
        "http://[64:ff9b::10.1.2.3]/",
        "http://0.0.0.0/",
        "http://nowhere.invalid/",
    ],
)
def test_addresses_that_are_not_public_are_refused(api: Api, url: str) -> None:
    assert_problem(api.http.post("/v1/webhooks", json={"url": url}), 422, "webhook-address")


@pytest.mark.parametrize("url", ["ftp://example.org", "https://me:pw@example.org/", "nonsense", "http://"])
def test_what_is_no_address_is_refused(api: Api, url: str) -> None:
    assert_problem(api.http.post("/v1/webhooks", json={"url": url}), 422, "request-invalid")


def test_a_name_that_turns_private_later_is_not_connected_to(
    made: Service, http_client: httpx.Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooked = hook(http_client, receiver.url)
    monkeypatch.setattr(AllowedNetworks, "allows", lambda *_: False)
    made.end()

    def refused() -> bool:
        last = http_client.get(hooked["links"]["self"]).json()["last_delivery"]
        return last is not None and "is not public" in last["error"]

    eventually(refused)
    assert receiver.heard == []
