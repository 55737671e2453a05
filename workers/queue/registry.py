"""Announce workers and publish model cards, so that the API knows what it can offer."""

import json
import logging
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any, NotRequired, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from redis import Redis
from typing_extensions import TypedDict

from wsi.geometry import WindowSpan
from wsi.grid import ContextMode

from ..errors import RecordInvalidError
from ..jobs import ADDED, STRICT, Count, Moment, Problem
from . import lua_fleet
from .codec import JsonCodec
from .connection import text
from .records import PREFIX

logger = logging.getLogger(__name__)

T = TypeVar("T")

WORKERS = f"{PREFIX}workers"
"""Set of all announced names; a name counts only while its own key lives."""

MODELS = f"{PREFIX}models"
"""JSON text of the PublishedModels of the worker that came last, for APIs that know no others."""

CARDS = f"{PREFIX}cards"
"""What the names of the keys with each worker's PublishedModels begin with."""

CARDS_TTL_S = 600.0
"""How long the cards of a worker are listed after it was last there, in seconds: workers restart."""


class WorkerState(StrEnum):
    """State of a worker."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    """Its host is not fit to run jobs; the problem says why."""


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One worker: its engine process's device and number format, and why it takes no jobs, if so."""

    name: str
    state: WorkerState
    device: str | None
    dtype: str | None
    models: tuple[str, ...]
    started_at: Moment
    problem: Problem | None = None
    memory_used: Annotated[Count | None, ADDED] = None
    """Bytes of the GPU's memory in use, by all processes, as of the end of the last job."""
    memory_total: Annotated[Count | None, ADDED] = None
    host: Annotated[str, ADDED] = ""
    weights: Annotated[tuple[str, ...], ADDED] = ()
    """sha256 of the weights of each model that it has."""

    @property
    def is_ready(self) -> bool:
        """Whether the worker takes jobs: its model is loaded and nothing is wrong with its host."""
        return self.state in (WorkerState.IDLE, WorkerState.BUSY)


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class PublishedModels:
    """Model cards that workers have; `default` is a card's name, None before any worker announced one.

    Of cards of one name the first is the one to use: it is what most live workers have.
    """

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
    context_margin_px: NotRequired[Annotated[int | None, Field(ge=0, le=10_000)]]


class _NamedInput(TypedDict):
    name: str
    input: _Input


_NAMED_INPUT = TypeAdapter(_NamedInput)
_WORKER = JsonCodec(WorkerInfo)
_MODELS = JsonCodec(PublishedModels)


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a worker learns when it announces itself."""

    storage: str | None = None
    """Token of the API's data folder; None before an API has told it."""
    workers: int = 1
    """Number of announced workers, this one included."""


class WorkerRegistry:
    """Announced workers and their model cards in Redis.

    Signs of life are keys that expire; the model cards stay longer, so that they can be listed while workers
    restart.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._announce = redis.register_script(lua_fleet.ANNOUNCE)

    def announce(self, worker: WorkerInfo, *, ttl_s: float) -> Fleet:
        """Say that `worker` lives, for `ttl_s` seconds; return what it should know of the others."""
        storage, workers = self._announce(args=[worker.name, _WORKER.to_json(worker), int(ttl_s * 1000)])
        return Fleet(None if storage is None else text(storage), int(workers))

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

    def publish_models(self, default: str, cards: tuple[str, ...], *, worker: str | None = None) -> None:
        """Keep the cards (JSON texts) of a worker.

        They are listed for CARDS_TTL_S seconds; those of a worker without a name until others come.
        """
        models = _MODELS.to_json(PublishedModels(default, tuple(json.loads(card) for card in cards)))
        self._redis.set(MODELS, models)
        if worker is not None:
            self._redis.set(f"{CARDS}:{worker}", models, px=int(CARDS_TTL_S * 1000))
            self._redis.zadd(CARDS, {worker: time.time()})

    def models(self) -> PublishedModels:
        """Return the cards of all live workers, one for each sha256, and those of workers gone a short while.

        Cards that cannot be read are left out, and those of a senseless input. Without any worker's, those
        that came last.
        """
        published = self._published()
        if not published:
            last = _readable(_MODELS, self._redis.get(MODELS)) or PublishedModels(None, ())
            return replace(last, cards=tuple(filter(_is_usable, last.cards)))
        live = {worker.name for worker in self.workers()}
        here = [one for name, one in published.items() if name in live]
        return united(here, [one for name, one in published.items() if name not in live])

    def cards_of_workers(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """Return name and sha256 of the model cards of each worker."""
        return {
            name: tuple(_identity(card) for card in models.cards)
            for name, models in self._published().items()
        }

    def _published(self) -> dict[str, PublishedModels]:
        """Return what workers have published and is kept yet, latest first."""
        names = [text(name) for name in self._redis.zrevrange(CARDS, 0, -1)]
        if not names:
            return {}
        found = dict(zip(names, self._redis.mget([f"{CARDS}:{name}" for name in names]), strict=True))
        if gone := [name for name, encoded in found.items() if encoded is None]:
            self._redis.zrem(CARDS, *gone)
        return {
            name: one for name, encoded in found.items() if (one := _readable(_MODELS, encoded)) is not None
        }


def united(live: Sequence[PublishedModels], gone: Sequence[PublishedModels]) -> PublishedModels:
    """Return the cards of live workers and, of names that none of those has, of workers just gone.

    One for each name and sha256; what most workers have comes first among cards of one name. The default is
    the one of most workers.
    """
    counted = Counter(_identity(card) for one in live for card in one.cards)
    names = {name for name, _ in counted}
    missing = [card for one in gone for card in one.cards if _identity(card)[0] not in names]
    cards = {_identity(card): card for card in [card for one in live for card in one.cards] + missing}
    ordered = sorted(cards, key=lambda identity: (identity[0], -counted[identity], identity[1]))
    defaults = Counter(one.default for one in (live or gone))
    return PublishedModels(
        min(defaults, key=lambda name: (-defaults[name], name or "")),
        tuple(card for identity in ordered if _is_usable(card := cards[identity])),
    )


def _identity(card: dict[str, Any]) -> tuple[str, str]:
    """Return name and sha256 of a card, '' where it does not say."""
    weights = card.get("weights")
    return str(card.get("name", "")), str(weights.get("sha256", "")) if isinstance(weights, dict) else ""


def host_name() -> str:
    """Return this host's name as workers' names begin with it: letters and digits, dashes for the rest."""
    return "".join(letter if letter.isalnum() else "-" for letter in socket.gethostname())


def _is_usable(card: dict[str, Any]) -> bool:
    """Tell whether a card states what jobs are judged by before they are queued: its name and its input.

    It is to be JSON, too: numbers may be infinite or none in what others wrote.
    """
    try:
        _NAMED_INPUT.validate_python(card, strict=True)
        json.dumps(card, allow_nan=False)
    except (ValidationError, ValueError):
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
