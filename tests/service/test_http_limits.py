"""Connections that send too much, too slowly, or are too many."""

import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from service import http_limits
from service.access import bodies
from service.receive import ALL_BUFFERS, WriteBehind

from .conftest import Api, assert_problem, running_api

HOST = b"Host: 127.0.0.1\r\n"
CHUNKED = b"POST /v1/slides HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
JSON = b"Content-Type: application/json\r\n"


def connect(http: httpx.Client) -> socket.socket:
    return socket.create_connection((http.base_url.host, http.base_url.port or 0), timeout=20)


def answer(connection: socket.socket) -> bytes:
    """What comes until the service closes the connection."""
    heard = b""
    try:
        while piece := connection.recv(1 << 16):
            heard += piece
    except ConnectionResetError:
        pass
    return heard


def ask(connection: socket.socket, header: bytes = b"") -> bytes:
    """Ask for /healthz and return the answer."""
    connection.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + header + b"\r\n")
    heard = b""
    while not heard.endswith(b"}"):
        piece = connection.recv(1 << 16)
        assert piece, "closed"
        heard += piece
    return heard


def flood(connection: socket.socket) -> None:
    """Send 64 kB again and again, as long as it is taken."""
    try:
        for _ in range(400):
            connection.sendall(b"x" * (1 << 16))
    except OSError:
        return
    pytest.fail("all was taken")


@pytest.mark.parametrize(
    "begin",
    [b"GET / HTTP/1.1\r\nX-Long: ", b"GET /", CHUNKED + b"1\r\n{\r\n0\r\nX-Long: "],
    ids=["header", "address", "trailer"],
)
def test_a_head_without_end_is_refused(api: Api, begin: bytes) -> None:
    with connect(api.http) as connection:
        connection.sendall(begin)
        flood(connection)
        answer(connection)
    assert api.http.get("/healthz").status_code == 200


def test_a_long_head_is_told_so(api: Api) -> None:
    with connect(api.http) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * (http_limits.HEAD_BYTES + 1))
        assert answer(connection).startswith(b"HTTP/1.1 431 ")


def test_a_head_of_usual_length_is_taken_and_the_connection_kept(api: Api) -> None:
    with connect(api.http) as connection:
        for _ in range(3):
            assert ask(connection, b"X-Long: " + b"x" * 30_000 + b"\r\n").startswith(b"HTTP/1.1 200 ")


def test_a_head_that_does_not_come_ends_the_connection(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "HEAD_S", 0.3)
    for sent in (b"", b"GET /healthz HTTP/1.1\r\nX-"):
        with connect(api.http) as connection:
            connection.sendall(sent)
            assert answer(connection).startswith(b"HTTP/1.1 408 ")


def test_a_body_may_take_longer_than_a_head(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "HEAD_S", 0.1)

    def slow() -> Iterator[bytes]:
        yield b'{"slide_id": '
        time.sleep(0.3)
        yield b'"x"}'

    response = api.http.post("/v1/jobs", content=slow(), headers={"Content-Type": "application/json"})
    assert_problem(response, 404, "slide-not-found")


def test_when_there_are_too_many_connections_a_silent_one_goes(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_limits, "CONNECTIONS", 3)
    with running_api(api.settings) as http, ExitStack() as held:
        silent = [held.enter_context(connect(http)) for _ in range(3)]
        with connect(http) as new:
            assert ask(new).startswith(b"HTTP/1.1 200 ")
        gone, _, _ = select.select(silent, [], [], 10)
        with suppress(ConnectionResetError):
            assert gone[0].recv(1 << 16) == b"", "it has no answer"


def test_connections_at_work_are_not_closed_for_new_ones(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "CONNECTIONS", 2)
    with running_api(api.settings) as http, ExitStack() as held:
        for _ in range(2):
            connection = held.enter_context(connect(http))
            connection.sendall(
                b"PUT /v1/slides?filename=a.tif HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n"
            )
            connection.sendall(b"Expect: 100-continue\r\n\r\n")
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 100 ")
        with connect(http) as refused:
            assert answer(refused) == b""


@pytest.mark.parametrize("path", ["/v1/slides", "/v1/jobs", "/v1/jobs/preflight", "/v1/session"])
def test_a_body_of_anything_but_an_upload_is_small(api: Api, path: str) -> None:
    longest = bodies.JOB_BYTES if path in bodies.DESCRIBES_JOB else bodies.SMALL_BYTES
    body = b'{"x": "' + b"x" * (longest + 1) + b'"}'
    for content in (body, iter([body[:100], body[100:]])):
        response = api.http.post(path, content=content, headers={"Content-Type": "application/json"})
        assert response.status_code == 413
        assert response.json()["type"] == "urn:darefine:problem:body-too-large"


def test_a_small_body_that_does_not_come_is_not_waited_for(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SMALL_S", 0.2)
    with connect(api.http) as connection:
        connection.sendall(b"POST /v1/slides HTTP/1.1\r\n" + HOST + JSON + b"Content-Length: 10\r\n\r\n{")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 408 ")


def test_a_part_of_a_form_with_a_header_without_end_is_refused(api: Api) -> None:
    def form() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="slide"; filename="'
        for _ in range(200):
            yield b"x" * (1 << 16)

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = api.http.post("/v1/jobs", content=form(), headers=headers)
    assert_problem(response, 422, "request-invalid")


def test_an_upload_that_trickles_is_let_go(api: Api) -> None:
    settings = api.settings.model_copy(update={"upload_idle_s": 0.3})
    head = b"PUT /v1/slides?filename=a.tif HTTP/1.1\r\n" + HOST + b"Content-Length: 900\r\n\r\n"
    with running_api(settings) as http, connect(http) as connection:
        connection.sendall(head)
        for _ in range(400):
            if select.select([connection], [], [], 0.05)[0]:
                break
            connection.sendall(b"x")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 408 ")


def test_stalled_uploads_hold_little_memory_together(api: Api) -> None:
    head = b"PUT /v1/slides?filename=a.tif HTTP/1.1\r\n" + HOST + b"Content-Length: 9000000\r\n\r\n"
    with ExitStack() as held:
        for _ in range(6):
            held.enter_context(connect(api.http)).sendall(head + bytes(3_000_000))
        incoming = api.data_dir / "slides"
        deadline = time.monotonic() + 20
        while written(incoming) + WriteBehind.unwritten < 18_000_000:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert WriteBehind.unwritten <= ALL_BUFFERS
    while WriteBehind.unwritten:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def written(folder: Path) -> int:
    """Bytes of all parts of uploads below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("upload"))
