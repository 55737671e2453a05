"""Connections that break, files that are damaged, services that restart."""

import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from darefine.client import Client, ClientError, DownloadDamagedError, ServiceRefusedError
from darefine.client.answers import FileFacts
from darefine.client.connection import Connection
from darefine.client.fetching import fetch

CONTENT = bytes(range(256)) * 512


class Server(ThreadingHTTPServer):
    """Server of one file that can be told to misbehave."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.cuts = [0]
        """Bytes after which each of the next connections is cut; 0 sends all. The last one stays."""
        self.away = 0
        """How many requests are answered with 503."""
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        if server.away:
            server.away -= 1
            self.send_response(503)
            self.send_header("Retry-After", "7")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        wanted = self.headers["Range"]
        server.ranges.append(wanted)
        start = int(re.findall(r"\d+", wanted)[0]) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        cut = server.cuts.pop(0) if len(server.cuts) > 1 else server.cuts[0]
        self.wfile.write(server.content[start:][: cut or None])
        self.close_connection = bool(cut)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def connection(server: Server, pauses: list[float]) -> Iterator[Connection]:
    connection = Connection(server.url, None, 60, pauses.append)
    yield connection
    connection.close()


def facts(content: bytes = CONTENT) -> FileFacts:
    return FileFacts(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def get(connection: Connection, target: Path) -> list[int]:
    told: list[int] = []
    fetch(connection, "/file", target, facts(), lambda done, _: told.append(done))
    return told


def test_a_broken_download_goes_on_where_it_broke(
    server: Server, connection: Connection, tmp_path: Path
) -> None:
    server.cuts = [1000, 5000, 0]
    told = get(connection, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000-", "bytes=6000-"]
    assert told == sorted(told)
    assert told[-1] == len(CONTENT)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_what_a_killed_process_left_is_gone_on_with(
    server: Server, connection: Connection, tmp_path: Path
) -> None:
    (tmp_path / "f.part").write_bytes(CONTENT[:7000])
    get(connection, tmp_path / "f")
    assert server.ranges == ["bytes=7000-"]
    assert (tmp_path / "f").read_bytes() == CONTENT


@pytest.mark.parametrize("left", [b"x" * 7000, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 1)])
def test_what_another_file_left_is_fetched_anew(
    server: Server, connection: Connection, tmp_path: Path, left: bytes
) -> None:
    (tmp_path / "f.part").write_bytes(left)
    get(connection, tmp_path / "f")
    assert server.ranges[-1] is None
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_file_that_is_there_is_not_fetched(server: Server, connection: Connection, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(CONTENT)
    get(connection, tmp_path / "f")
    assert server.ranges == []


def test_damaged_bytes_are_never_taken_for_the_file(
    server: Server, connection: Connection, tmp_path: Path
) -> None:
    server.content = CONTENT[:-1] + b"x"
    (tmp_path / "f").write_bytes(b"an older result")
    with pytest.raises(DownloadDamagedError, match="f was downloaded 2 times"):
        get(connection, tmp_path / "f")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"f": b"an older result"}


def test_a_service_that_is_away_for_a_moment_is_waited_for(
    server: Server, connection: Connection, pauses: list[float], tmp_path: Path
) -> None:
    server.away = 3
    get(connection, tmp_path / "f")
    assert pauses == [7.0] * 3, "as long as it asks for"


def test_patience_ends(server: Server) -> None:
    with Client(server.url, patience_s=0, sleep=lambda _: None) as client:
        server.away = 1000
        with pytest.raises(ServiceRefusedError, match="503"):
            client.result("x")
        assert server.away >= 997


def test_what_is_no_darefine_service_is_told(server: Server) -> None:
    server.content = b"<html>a proxy</html>"
    with Client(server.url) as client, pytest.raises(ClientError, match="Check the address"):
        client.slides()
