"""Say what a worker is about: its state for the API, its model cards, and learn of the fleet in return."""

import logging
import time
from dataclasses import replace

from redis import Redis
from redis.exceptions import RedisError

from ..jobs import Problem
from ..protocol import Ready
from ..queue.registry import Fleet, WorkerInfo, WorkerRegistry, WorkerState, host_name
from ..queue.storage import read_token
from ..queue.tallies import MODEL_LOAD_FAILURES, MODEL_LOADS, Tallies
from ..settings import WorkerSettings
from .engine_process import EngineProcess, EngineState
from .host_health import HostHealth
from .job_choice import weights_of

logger = logging.getLogger(__name__)

TTL_S = 15.0
"""How long the API counts on a worker after its last sign of life, in seconds."""

ANNOUNCE_S = 4.0
"""How often a worker says that it is as it was, in seconds; what changes it says at once."""

REPUBLISH_S = 300.0
"""How often it publishes its model cards again, in seconds; they are kept for twice as long."""


class Announcer:
    """Announces one worker. Waits for nothing but the queue server, and raises nothing."""

    def __init__(
        self, redis: Redis, name: str, engine: EngineProcess, health: HostHealth, settings: WorkerSettings
    ) -> None:
        self._registry = WorkerRegistry(redis)
        self._tallies = Tallies(redis)
        self._name = name
        self._engine = engine
        self._health = health
        self._data_dir = settings.data_dir
        self._started_at = time.time()
        self._announced: WorkerInfo | None = None
        self._announced_at = 0.0
        self._published_for: int | None = None
        self._published_at = 0.0
        self._told_problem: Problem | None = None
        self.fleet = Fleet()
        """What was learnt of the other workers."""

    def info(self, *, busy: bool) -> WorkerInfo:
        """Return what the worker says of itself; `busy` says whether it runs a job."""
        engine, ready = self._engine, self._engine.ready
        return WorkerInfo(
            name=self._name,
            state=self._state(busy=busy),
            device=ready.device if ready else None,
            dtype=ready.dtype if ready else None,
            models=(ready.default_model,) if ready else (),
            started_at=self._started_at,
            problem=engine.problem or self._health.reason,
            memory_used=engine.memory.used if engine.memory else None,
            memory_total=engine.memory.total if engine.memory else None,
            host=host_name(),
            weights=weights_of(ready.cards) if ready else (),
        )

    def announce(self, *, busy: bool) -> None:
        """Announce the worker if something has changed, or a while has passed, and its models, as rarely.

        What comes back says whether the data folder is that of the API.
        """
        now, info, engine = time.monotonic(), self.info(busy=busy), self._engine
        # That it has a job or none may wait: jobs may be short.
        idle = replace(info, state=WorkerState.IDLE) if info.is_ready else info
        if now - self._announced_at < ANNOUNCE_S and idle == self._announced:
            return
        try:
            self.fleet = self._registry.announce(info, ttl_s=TTL_S)
            self._announced, self._announced_at = idle, now
            self._health.compare_storage(self.fleet.storage, read_token(self._data_dir), self._data_dir)
            if engine.ready is not None and engine.state is EngineState.READY:
                self._publish(engine.ready, now)
            if engine.problem is not self._told_problem:
                self._told_problem = engine.problem
                self._tallies.add([MODEL_LOAD_FAILURES.counted()] if engine.problem else [])
        except RedisError as error:
            logger.debug("cannot announce: %s", error)

    def withdraw(self) -> None:
        """Say that the worker is gone.

        Raises:
            redis.exceptions.RedisError: the queue server does not answer.
        """
        self._registry.withdraw(self._name)

    def _publish(self, ready: Ready, now: float) -> None:
        """Publish the models of each new engine process, and again before what is kept of them expires."""
        is_new = self._published_for != self._engine.pid
        if not is_new and now - self._published_at < REPUBLISH_S:
            return
        self._registry.publish_models(ready.default_model, ready.cards, worker=self._name)
        self._published_for, self._published_at = self._engine.pid, now
        if is_new:
            self._tallies.add(MODEL_LOADS.observed(self._engine.load_s or 0.0, ready.default_model))

    def _state(self, *, busy: bool) -> WorkerState:
        if self._engine.state in {EngineState.FAILED, EngineState.MISCONFIGURED}:
            return WorkerState.FAILED
        if self._health.reason is not None:
            return WorkerState.QUARANTINED
        if self._engine.state is EngineState.STARTING:
            return WorkerState.STARTING
        return WorkerState.BUSY if busy else WorkerState.IDLE
