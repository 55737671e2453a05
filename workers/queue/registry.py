"""Announce workers and publish model cards, so that the API knows what it can offer."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import with_config
from redis import Redis

from ..jobs import STRICT, Problem
from .codec import JsonCodec
from .connection import text
from .records import PREFIX

WORKERS = f"{PREFIX}workers"
"""Set of all announced names; a name counts only while its own key lives."""

MODELS = f"{PREFIX}models"
"""JSON text of the PublishedModels."""


class WorkerState(StrEnum):
    """State of a worker."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    FAILED = "failed"


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One worker: its engine process's device and number format, and why it has no model if it has failed."""

    name: str
    state: WorkerState
    device: str | None
    dtype: str | None
    models: tuple[str, ...]
    started_at: float
    problem: Problem | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the worker's model is loaded."""
        return self.state in (WorkerState.IDLE, WorkerState.BUSY)


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class PublishedModels:
    """Model cards as workers announced them last; `default` is a card's name, None before any worker did."""

    default: str | None
    cards: tuple[dict[str, Any], ...]


_WORKER = JsonCodec(WorkerInfo)
_MODELS = JsonCodec(PublishedModels)


class WorkerRegistry:
    """Announced workers and their model cards in Redis.

    Signs of life are keys that expire; the model cards stay, so that they can be listed while workers
    restart.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def announce(self, worker: WorkerInfo, *, ttl_s: float) -> None:
        """Say that `worker` lives, for `ttl_s` seconds."""
        pipeline = self._redis.pipeline()
        pipeline.sadd(WORKERS, worker.name)
        pipeline.set(_key(worker.name), _WORKER.to_json(worker), px=int(ttl_s * 1000))
        pipeline.execute()

    def withdraw(self, name: str) -> None:
        """Say that the worker is gone."""
        pipeline = self._redis.pipeline()
        pipeline.srem(WORKERS, name)
        pipeline.delete(_key(name))
        pipeline.execute()

    def workers(self) -> tuple[WorkerInfo, ...]:
        """Return the workers whose sign of life is fresh, by name; forgets the others.

        Raises:
            RecordInvalidError: what a worker said of itself cannot be read.
        """
        names = sorted(text(name) for name in self._redis.smembers(WORKERS))
        if not names:
            return ()
        found = dict(zip(names, self._redis.mget([_key(name) for name in names]), strict=True))
        gone = [name for name, info in found.items() if info is None]
        if gone:
            self._redis.srem(WORKERS, *gone)
        return tuple(_WORKER.from_json(info) for info in found.values() if info is not None)

    def publish_models(self, default: str, cards: tuple[str, ...]) -> None:
        """Keep the cards (JSON texts) of the worker that came last; all are expected to serve the same."""
        models = PublishedModels(default, tuple(json.loads(card) for card in cards))
        self._redis.set(MODELS, _MODELS.to_json(models))

    def models(self) -> PublishedModels:
        """Return the cards announced last.

        Raises:
            RecordInvalidError: they cannot be read.
        """
        published = self._redis.get(MODELS)
        return PublishedModels(None, ()) if published is None else _MODELS.from_json(published)


def _key(name: str) -> str:
    return f"{WORKERS}:{name}"
