"""How commands reach the service."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from darefine.cli.connect import connected


@pytest.fixture
def seen() -> Iterator[tuple[str, list[str | None]]]:
    """The address of a server, and the Authorization header of each call to it."""
    headers: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers.append(self.headers["Authorization"])
            self.send_response(200)
            self.send_header("Content-Length", "34")
            self.end_headers()
            self.wfile.write(b'{"slides": [], "next_cursor":null}')

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", headers
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("key", [None, "darefine_x"])
def test_the_key_of_the_environment_goes_with_every_call(
    seen: tuple[str, list[str | None]], monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    if key is None:
        monkeypatch.delenv("DAREFINE_KEY", raising=False)
    else:
        monkeypatch.setenv("DAREFINE_KEY", key)
    url, headers = seen
    with connected(url) as client:
        client.slides()
    assert headers == [key and f"Bearer {key}"]
