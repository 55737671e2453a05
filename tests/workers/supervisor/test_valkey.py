"""The embedded queue server."""

import os
import signal
import stat
from pathlib import Path

import pytest
from redis import Redis

from tests.workers.conftest import Bench
from workers.errors import QueueUnavailableError
from workers.queue.connection import LONGEST_SOCKET_PATH, socket_path
from workers.supervisor.aof_repair import is_damaged
from workers.supervisor.valkey import EmbeddedValkey, server_program


def test_only_this_user_reaches_the_socket(mortal_valkey: EmbeddedValkey) -> None:
    assert stat.S_IMODE(mortal_valkey.socket.stat().st_mode) == 0o700
    assert stat.S_IMODE(mortal_valkey.directory.stat().st_mode) == 0o700


def test_what_was_acknowledged_survives_a_kill(mortal_valkey: EmbeddedValkey) -> None:
    Redis.from_url(mortal_valkey.url).set("key", "value")
    assert mortal_valkey.pid
    os.kill(mortal_valkey.pid, signal.SIGKILL)
    mortal_valkey.start()
    assert Redis.from_url(mortal_valkey.url).get("key") == b"value"


def test_a_second_owner_attaches_and_leaves_the_server_alone(mortal_valkey: EmbeddedValkey) -> None:
    second = EmbeddedValkey(mortal_valkey.directory)
    second.start()
    assert second.pid is None
    second.stop()
    assert mortal_valkey.answers()


def test_a_server_refuses_to_lose_data_when_memory_is_full(mortal_valkey: EmbeddedValkey) -> None:
    config = Redis.from_url(mortal_valkey.url).config_get("maxmemory-policy", "appendonly", "appendfsync")
    assert config == {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "everysec"}


def test_a_long_folder_gets_a_short_socket_path(tmp_path: Path) -> None:
    long = tmp_path / ("deep" * 40)
    assert len(os.fsencode(socket_path(long))) <= LONGEST_SOCKET_PATH
    assert socket_path(long) != socket_path(long / "other")


def test_a_short_folder_holds_its_own_socket() -> None:
    assert socket_path(Path("/data/queue")).parent == Path("/data/queue")


@pytest.mark.parametrize("in_the_way", ["file", "file/queue", "queue"])
def test_a_folder_that_cannot_be_used_is_refused_with_a_cure(tmp_path: Path, in_the_way: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "queue" / "lock").mkdir(parents=True)
    with pytest.raises(QueueUnavailableError, match="DAREFINE_DATA_DIR") as refused:
        EmbeddedValkey(tmp_path / in_the_way).start()
    assert str(tmp_path / in_the_way) in str(refused.value)


def test_without_any_server_program_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.supervisor.valkey.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(QueueUnavailableError, match="DAREFINE_REDIS_URL"):
        server_program()


@pytest.mark.parametrize("part", ["*.incr.aof", "*.base.rdb"])
def test_a_damaged_file_costs_what_came_after_the_damage(mortal_valkey: EmbeddedValkey, part: str) -> None:
    redis = Redis.from_url(mortal_valkey.url)
    for number in range(400):
        redis.set(f"key {number}", "value")
    mortal_valkey.stop()
    (file,) = (mortal_valkey.directory / "appendonlydir").glob(part)
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = b"?" * 40
    file.write_bytes(content)
    mortal_valkey.start()
    assert mortal_valkey.lost
    left = redis.dbsize()
    assert 100 < left < 300 if part == "*.incr.aof" else left == 0
    kept = list(mortal_valkey.directory.glob("appendonlydir.damaged-*"))
    assert [path.joinpath(file.name).read_bytes() for path in kept] == [bytes(content)]


@pytest.mark.parametrize(
    ("part", "sound", "damaged"),
    [
        ("*.base.rdb", b"\xfe\x00", b"\xfe\x3f"),  # database 63
        ("*.incr.aof", b"\r\nSET\r\n", b"\r\nSUT\r\n"),
        ("*.manifest", b"file", b"fi\x00e"),
        ("*.manifest", None, b""),
        ("*.base.rdb", None, None),
        ("*.incr.aof", None, None),
    ],
)
def test_whatever_is_damaged_the_server_comes_up_and_the_files_are_kept(
    mortal_valkey: EmbeddedValkey, part: str, sound: bytes | None, damaged: bytes | None
) -> None:
    redis = Redis.from_url(mortal_valkey.url)
    redis.set("key", "value")
    redis.bgrewriteaof()
    Bench.wait_until(lambda: list(mortal_valkey.directory.glob("*/*.2.base.rdb")), "a file written anew")
    Bench.wait_until(lambda: not redis.info("persistence")["aof_rewrite_in_progress"], "its end")
    redis.set("key", "other")
    mortal_valkey.stop()
    (file,) = (mortal_valkey.directory / "appendonlydir").glob(part)
    content = file.read_bytes()
    if damaged is None:
        file.unlink()
    else:
        assert sound is None or sound in content
        file.write_bytes(content.replace(sound, damaged) if sound else damaged)
    mortal_valkey.start()
    assert mortal_valkey.lost
    assert redis.get("key") is None
    (kept,) = mortal_valkey.directory.glob("appendonlydir.damaged-*")
    assert len(list(kept.iterdir())) == (2 if damaged is None else 3)


@pytest.mark.parametrize("code", [-signal.SIGKILL, -signal.SIGTERM])
def test_a_server_that_somebody_ends_as_it_reads_its_file_leaves_that_alone(
    tmp_path: Path, code: int
) -> None:
    (tmp_path / "appendonlydir").mkdir()
    log = "* Server initialized\n* Reading RDB base file on AOF loading...\n"
    assert is_damaged(tmp_path, log, 1)
    assert not is_damaged(tmp_path, log, code)
    assert not is_damaged(tmp_path, f"{log}# Can't open the file: Permission denied", 1)
    assert not is_damaged(tmp_path, f"{log}* Ready to accept connections", 1)


def test_a_server_that_cannot_start_says_why_and_is_not_started_over_and_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.supervisor.valkey.START_TIMEOUT_S", 2.5)
    (tmp_path / "appendonlydir").write_text("in the way")
    valkey = EmbeddedValkey(tmp_path)
    with pytest.raises(QueueUnavailableError, match="appendonlydir"):
        valkey.start()
    valkey.stop()
    assert (tmp_path / "valkey.log").read_text().count("is starting") <= 4
