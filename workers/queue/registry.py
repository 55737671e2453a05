"""What workers tell the API of themselves: signs of life and model cards."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from redis import Redis

from ..jobs import Problem
from .connection import text

WORKERS = "darefine:workers"
"""Set of all announced names; a name counts only while its own key lives."""

MODELS = "darefine:models"


class WorkerState(StrEnum):
    """What a worker is about."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One worker: its model process's device and number format, and why it has no model if it has failed."""

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

    def to_json(self) -> str:
        """The worker as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, info: str | bytes) -> "WorkerInfo":
        """The inverse of `to_json`."""
        members = json.loads(info)
        problem = members["problem"]
        return cls(
            **{
                **members,
                "state": WorkerState(members["state"]),
                "models": tuple(members["models"]),
                "problem": Problem(**problem) if problem else None,
            }
        )


@dataclass(frozen=True, slots=True)
class PublishedModels:
    """Model cards as workers announced them last; `default` is a card's name, None before any worker did."""

    default: str | None
    cards: tuple[dict[str, Any], ...]


class WorkerRegistry:
    """Signs of life are keys that expire; the model cards stay, so that they can be listed while workers restart."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def announce(self, worker: WorkerInfo, *, ttl_s: float) -> None:
        """Say that `worker` lives, for `ttl_s` seconds."""
        pipeline = self._redis.pipeline()
        pipeline.sadd(WORKERS, worker.name)
        pipeline.set(_key(worker.name), worker.to_json(), px=int(ttl_s * 1000))
        pipeline.execute()

    def withdraw(self, name: str) -> None:
        """Say that the worker is gone."""
        pipeline = self._redis.pipeline()
        pipeline.srem(WORKERS, name)
        pipeline.delete(_key(name))
        pipeline.execute()

    def workers(self) -> tuple[WorkerInfo, ...]:
        """Workers whose sign of life is fresh, by name; forgets the others."""
        names = sorted(text(name) for name in self._redis.smembers(WORKERS))
        if not names:
            return ()
        found = dict(zip(names, self._redis.mget([_key(name) for name in names]), strict=True))
        gone = [name for name, info in found.items() if info is None]
        if gone:
            self._redis.srem(WORKERS, *gone)
        return tuple(WorkerInfo.from_json(info) for info in found.values() if info is not None)

    def publish_models(self, default: str, cards: tuple[str, ...]) -> None:
        """Keep the cards (JSON texts) of the worker that came last; all are expected to serve the same."""
        self._redis.set(
            MODELS, json.dumps({"default": default, "cards": [json.loads(card) for card in cards]})
        )

    def models(self) -> PublishedModels:
        """The cards announced last."""
        published = self._redis.get(MODELS)
        if published is None:
            return PublishedModels(None, ())
        members = json.loads(published)
        return PublishedModels(members["default"], tuple(members["cards"]))


def _key(name: str) -> str:
    return f"{WORKERS}:{name}"
