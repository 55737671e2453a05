"""A queue server that answers, but takes nothing, as when its disk is full."""

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from workers.supervisor.valkey import EmbeddedValkey

from .conftest import Bench


def refuse_writes(redis: Redis, valkey: EmbeddedValkey) -> None:
    """Make a server refuse writes, as with a full disk: where its file should be is a folder."""
    (valkey.directory / "dump.rdb").mkdir()
    redis.config_set("save", "3600 1")
    redis.bgsave()
    Bench.wait_until(lambda: redis.info("persistence")["rdb_last_bgsave_status"] == "err", "a failed save")
    with pytest.raises(ResponseError, match="MISCONF"):
        redis.set("key", "value")


def accept_writes(redis: Redis, valkey: EmbeddedValkey) -> None:
    """Undo `refuse_writes`."""
    (valkey.directory / "dump.rdb").rmdir()
    redis.bgsave()
    Bench.wait_until(lambda: redis.info("persistence")["rdb_last_bgsave_status"] == "ok", "a save")
