"""Announce workers and publish model cards, so that the API knows what it can offer."""

import json
import logging
import socket
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any, NotRequired, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from redis import Redis
from typing_extensions import TypedDict

from wsi.geometry import WindowSpan
from wsi.grid import ContextMode

from ..errors import RecordInvalidError
from ..jobs import ADDED, STRICT, Problem
from .codec import JsonCodec
from .connection import text
from .records import PREFIX

logger = logging.getLogger(__name__)

T = TypeVar("T")

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
    memory_used: Annotated[int | None, ADDED] = None
    """Bytes of the GPU's memory in use, by all processes, as of the end of the last job."""
    memory_total: Annotated[int | None, ADDED] = None

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


@with_config(ConfigDict(extra="forbid"))
class _Input(TypedDict):
    mpp: Annotated[float, Field(gt=0, lt=1000)]
    context_ratio: Annotated[int, Field(ge=1, le=1000)]
    slices_per_side: Annotated[int, Field(ge=1, le=1000)]
    halo_px: Annotated[int, Field(ge=0, le=10_000)]
    context: NotRequired[ContextMode]
    window: NotRequired[WindowSpan]


class _NamedInput(TypedDict):
    name: str
    input: _Input


_NAMED_INPUT = TypeAdapter(_NamedInput)
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

        What cannot be read is left out.
        """
        names = sorted(text(name) for name in self._redis.smembers(WORKERS))
        if not names:
            return ()
        found = dict(zip(names, self._redis.mget([_key(name) for name in names]), strict=True))
        gone = [name for name, info in found.items() if info is None]
        if gone:
            self._redis.srem(WORKERS, *gone)
        return tuple(worker for info in found.values() if (worker := _readable(_WORKER, info)) is not None)

    def of_this_host(self) -> tuple[WorkerInfo, ...]:
        """Return the live workers whose names say that they run on this host, or in this container."""
        own = host_name()
        return tuple(worker for worker in self.workers() if worker.name.rsplit("-", 2)[0] == own)

    def publish_models(self, default: str, cards: tuple[str, ...]) -> None:
        """Keep the cards (JSON texts) of the worker that came last; all are expected to serve the same."""
        models = PublishedModels(default, tuple(json.loads(card) for card in cards))
        self._redis.set(MODELS, _MODELS.to_json(models))

    def models(self) -> PublishedModels:
        """Return the cards announced last; none if they cannot be read, and none of a senseless input."""
        models = _readable(_MODELS, self._redis.get(MODELS)) or PublishedModels(None, ())
        return replace(models, cards=tuple(filter(_is_usable, models.cards)))


def host_name() -> str:
    """Return this host's name as workers' names begin with it: letters and digits, dashes for the rest."""
    return "".join(letter if letter.isalnum() else "-" for letter in socket.gethostname())


def _is_usable(card: dict[str, Any]) -> bool:
    """Tell whether a card states what jobs are judged by before they are queued: its name and its input."""
    try:
        _NAMED_INPUT.validate_python(card, strict=True)
    except ValidationError:
        return False
    return True


def _readable(codec: JsonCodec[T], encoded: Any) -> T | None:
    """Return the value that an announcement states, None if there is none that can be read."""
    try:
        return None if encoded is None else codec.from_json(encoded)
    except RecordInvalidError as error:
        logger.warning("%s", error)
        return None


def _key(name: str) -> str:
    return f"{WORKERS}:{name}"
