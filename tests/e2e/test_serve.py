"""`darefine serve` as a user starts it: it says where it is once it is up, or in a line why it cannot be."""

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from darefine.cli.demo import free_port, own_environment

from .conftest import RunningService

pytestmark = pytest.mark.e2e

END_S = 90


def command(port: int, card: Path) -> list[str]:
    return [sys.executable, "-m", "darefine", "serve", "--port", str(port), "--weights", str(card)]


def ended(
    data_dir: Path, card: Path, *, port: int | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The command, once it has ended by itself."""
    return subprocess.run(
        command(port or free_port(), card),
        env={**own_environment(), "DAREFINE_DATA_DIR": str(data_dir), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=END_S,
        check=False,
    )


@pytest.mark.parametrize(
    ("setting", "value", "cure"),
    [
        ("DAREFINE_DEVICE", "cuda:99", "Use auto or cpu"),
        ("DAREFINE_PRECISION", "int8", "set DAREFINE_PRECISION to auto"),
        ("DAREFINE_PRECISION", "fp16", "on a CPU use fp32, bf16 or auto"),
    ],
)
def test_settings_for_another_machine_end_it_with_one_line_that_says_what_to_do(
    tmp_path: Path, tiny_model: Path, setting: str, value: str, cure: str
) -> None:
    done = ended(tmp_path, tiny_model, **{"DAREFINE_DEVICE": "cpu", setting: value})
    assert done.returncode == os.EX_CONFIG, done.stdout
    lines = done.stdout.splitlines()
    assert len([line for line in lines if cure in line]) == 1, done.stdout
    assert len([line for line in lines if "worker 0 started" in line]) == 1
    assert "Traceback" not in done.stdout
    assert "starting it again" not in done.stdout


def test_a_second_service_on_the_folder_ends_with_one_line_and_the_first_goes_on(
    service: RunningService, tiny_model: Path
) -> None:
    second = ended(service.data_dir, tiny_model)
    assert second.returncode == 1
    (line,) = second.stdout.splitlines()
    assert str(service.process.pid) in line
    assert str(service.data_dir) in line
    assert httpx.get(f"{service.url}/readyz").status_code == 200


def test_a_taken_port_ends_it_with_one_line(tmp_path: Path, tiny_model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = ended(tmp_path, tiny_model, port=taken.getsockname()[1])
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    assert re.search(r"Cannot listen on 127\.0\.0\.1:\d+ .*Choose another --port", line)


@contextlib.contextmanager
def told_address(data_dir: Path, card: Path, log: Path) -> Iterator[str]:
    """The service, and the address that it prints."""
    environment = {**own_environment(), "DAREFINE_DATA_DIR": str(data_dir)}
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command(free_port(), card), env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[0]
        process.terminate()
        assert process.wait(END_S) == 0
        assert process.stdout.read() == "", "the address is all that it prints"
    finally:
        process.kill()
        process.communicate()


def test_the_address_is_printed_when_the_service_answers_there(tmp_path: Path, tiny_model: Path) -> None:
    with told_address(tmp_path / "state", tiny_model, tmp_path / "log") as address:
        assert httpx.get(f"{address}/healthz").status_code == 200
