"""`darefine serve` refuses at once what could not work, in one line that says what to do."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import darefine.cli.serve
from darefine.cli.main import main
from darefine.cli.serve import api_command, is_loopback, require_key, tell_address
from service import http_limits
from service.access.keys import KeyStore, Scope


def refused(*arguments: str, env: dict[str, str]) -> str:
    """The one line that a command ends with."""
    answer: Result = CliRunner().invoke(main, [*arguments], env=env)
    assert answer.exit_code == 1, answer.output
    assert answer.exception is None or isinstance(answer.exception, SystemExit)
    lines = answer.output.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("Error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("lab", False),
    ],
)
def test_public_addresses_are_told_apart(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_other_machines_are_let_in_only_with_a_key(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5"):
        told = refused("serve", "--host", host, env={"DAREFINE_DATA_DIR": str(tmp_path)})
        assert "darefine keys add NAME" in told
        assert str(tmp_path) in told
    keys = KeyStore(tmp_path)
    keys.add("over", Scope.READ, days=1e-9)
    assert "darefine keys add NAME" in refused(
        "serve", "--host", "::", env={"DAREFINE_DATA_DIR": str(tmp_path)}
    )
    keys.add("lab", Scope.READ)
    require_key("0.0.0.0", tmp_path)


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    env = {"DAREFINE_DATA_DIR": str(tmp_path), "COLUMNS": "200"}
    made = CliRunner().invoke(main, ["keys", "add", "scanner 2", "--max-gb", "1.5", "--days", "7"], env=env)
    assert made.exit_code == 0
    text = made.stdout.strip()
    key = KeyStore(tmp_path).find(text)
    assert key is not None
    assert (key.scope, key.max_slide_bytes, key.calls_per_minute) == (Scope.SUBMIT, 1_500_000_000, None)
    listed = CliRunner().invoke(main, ["keys", "list"], env=env).output
    for told in (key.id, "scanner 2", "submit", "1.5 GB"):
        assert told in listed
    assert text not in listed
    assert "already" in refused("keys", "add", "scanner 2", env=env)
    assert CliRunner().invoke(main, ["keys", "revoke", "scanner 2"], env=env).exit_code == 0
    assert "keys list" in refused("keys", "revoke", "scanner 2", env=env)
    assert KeyStore(tmp_path).find(text) is None


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DAREFINE_PRECISION", "int4", "'fp32'"),
        ("DAREFINE_WORKERS", "many", "integer"),
        ("DAREFINE_INSPECTIONS", "0", "greater than"),
        ("DAREFINE_METRICS", "yes", "'open'"),
        ("DAREFINE_SLIDEROOTS", "/mnt", "did you mean DAREFINE_SLIDE_ROOTS"),
        ("DAREFINE_DEVISE", "cpu", "did you mean DAREFINE_DEVICE"),
    ],
)
def test_settings_that_cannot_be_are_named(tmp_path: Path, name: str, value: str, told: str) -> None:
    line = refused("serve", env={"DAREFINE_DATA_DIR": str(tmp_path), name: value})
    assert name in line
    assert told in line


def test_variables_of_clients_and_tests_are_known() -> None:
    env = {"DAREFINE_URL": "http://lab:8000", "DAREFINE_KEY": "darefine_x", "DAREFINE_TEST_SLIDES": "/slides"}
    assert CliRunner().invoke(main, ["models"], env=env).exit_code == 0


def test_windows_gets_the_client_and_is_told_where_the_service_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = "sys.modules.update(dict.fromkeys(('fcntl', 'resource', 'pwd', 'grp')))"
    modules = ", ".join(
        f"darefine.cli.{name}" for name in ("main", "submit", "serve", "worker", "doctor", "keys")
    )
    code = f"import sys; {hidden}; import {modules}"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    monkeypatch.setattr(darefine.cli.serve, "SYSTEM", "nt")
    for command in ("serve", "worker"):
        assert "submit --url" in refused(command, env={})


def test_the_api_is_started_with_limits_on_its_connections() -> None:
    protocol = f"{http_limits.__name__}:{http_limits.LimitedProtocol.__name__}"
    assert protocol in api_command("127.0.0.1", 8000)
    assert protocol in Path("Dockerfile").read_text()


@contextmanager
def answering(statuses: list[int]) -> Iterator[int]:
    """A server that answers so, one after another, then with the last for ever; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


class Over(threading.Event):
    """Counts the pauses; the service is over after `last` of them."""

    def __init__(self, last: int = 1000) -> None:
        super().__init__()
        self.pauses = 0
        self._last = last

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        assert timeout > 0
        self.pauses += 1
        return self.pauses >= self._last


def test_the_address_is_told_once_the_service_is_well_with_a_pause_after_each_other_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    over = Over()
    with answering([503, 421, 500, 200]) as port:
        tell_address("127.0.0.1", port, tmp_path, over)
    assert over.pauses == 3
    told = capsys.readouterr().out
    assert told.startswith(f"http://127.0.0.1:{port} ")
    assert str(tmp_path) in told


@pytest.mark.parametrize("answers", [True, False])
def test_no_address_is_told_of_a_service_that_ends_before_it_is_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answers: bool
) -> None:
    over = Over(last=2)
    with answering([503]) as port:
        if answers:
            tell_address("127.0.0.1", port, tmp_path, over)
    if not answers:
        tell_address("127.0.0.1", port, tmp_path, over)
    assert over.pauses == 2
    assert capsys.readouterr().out == ""
