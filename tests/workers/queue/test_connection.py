"""Connections to a queue server in trouble."""

import socket
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from workers.queue.connection import connect, unix_url, without_password


@pytest.fixture
def hung_server(tmp_path_factory: pytest.TempPathFactory):
    """A server that takes connections and says nothing, at `socket`."""
    path = tmp_path_factory.mktemp("s") / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(32)
        server.setblocking(False)
        yield server, path


@pytest.mark.slow
def test_a_server_that_hangs_is_tried_twice_for_a_second_each(hung_server) -> None:
    server, path = hung_server
    redis = connect(unix_url(path))
    with pytest.raises(RedisError):
        redis.ping()
    tries = 0
    while True:
        try:
            server.accept()[0].close()
        except BlockingIOError:
            break
        tries += 1
    options = redis.connection_pool.connection_kwargs
    assert (tries, options["socket_timeout"], options["socket_connect_timeout"]) == (2, 1, 1)


def test_a_server_that_is_gone_is_reported(tmp_path: Path) -> None:
    with pytest.raises(RedisError):
        connect(unix_url(tmp_path / "nobody")).ping()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://:secret@host:6379", "redis://:***@host:6379"),
        ("rediss://user:se:c@ret@host/1?db=2", "rediss://user:***@host/1?db=2"),
        ("redis://:se/cret@host", "redis://:***@host"),
        ("unix:///run/valkey.sock", "unix:///run/valkey.sock"),
        (
            "unix://user@/run/valkey.sock?db=1&password=secret&x=1",
            "unix://user@/run/valkey.sock?db=1&password=***&x=1",
        ),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
