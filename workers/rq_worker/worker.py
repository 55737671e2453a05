"""Run the worker process: RQ takes jobs from the queue, the engine process runs them. Imports no torch."""

import logging
import os
import secrets
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import rq
import rq.job
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry
from rq.exceptions import StopRequested
from rq.worker import SimpleWorker, WorkerStatus

from ..errors import ForbiddenTaskError
from ..jobs import Problem
from ..queue.connection import connect, connect_patiently, socket_path, unix_url
from ..queue.lease import JobLease
from ..queue.registry import WorkerInfo, WorkerRegistry, WorkerState, host_name
from ..queue.rq_lists import QUEUES, TASK
from ..queue.tallies import MODEL_LOAD_FAILURES, MODEL_LOADS, Tallies
from ..settings import WorkerSettings
from ..work_limits import WorkLimits
from .engine_process import ENGINE, EngineProcess, EngineState
from .job_run import WorkerContext
from .prefetch import Prefetcher
from .tasks import run_job, worker_context

logger = logging.getLogger(__name__)

DEQUEUE_S = 2
"""How long RQ waits for a job at a time, in seconds; in between the worker looks after its engine process."""

RQ_MARGIN_S = 15
"""RQ waits `worker_ttl` less this."""

RQ_LEASE_S = 60
RQ_BEAT_S = 15.0
"""RQ's own lease and heartbeat, kept only so that its tools do not call a long job abandoned."""

ANNOUNCEMENT_TTL_S = 15.0
"""How long the API counts on a worker after its last sign of life, in seconds."""

CANNOT_WRITE = ("MISCONF", "UNBLOCKED", "READONLY")
"""Codes of the server's answers while its disk is full, and as it becomes a replica."""

NO_RETRY = Retry(NoBackoff(), 0)


class TaskJob(rq.job.Job):
    """RQ job that can run nothing but our task.

    Whoever may write to Redis must not choose what workers import.
    """

    @property
    def func(self) -> Callable[[str, int], str]:
        """Task that the job runs.

        Raises:
            ForbiddenTaskError: the job names anything else.
        """
        if self.instance is not None or self.func_name != TASK:
            raise ForbiddenTaskError(f"Workers run {TASK} only, not {self.func_name!r}.")
        return run_job

    @property
    def success_callback(self) -> None:
        """No callback: callbacks are names to import, too."""

    @property
    def failure_callback(self) -> None:
        """No callback: callbacks are names to import, too."""

    @property
    def stopped_callback(self) -> None:
        """No callback: callbacks are names to import, too."""


class HotWorker(SimpleWorker):
    """RQ's in-process worker around one engine process that stays loaded from job to job."""

    job_class = TaskJob
    max_connection_wait_time = 2.0

    def __init__(
        self,
        redis: Redis,
        engine: EngineProcess,
        settings: WorkerSettings,
        *,
        connection: Redis,
        name: str,
        limits: WorkLimits,
    ) -> None:
        """Talk to the queue through `redis`, which answers soon or raises.

        RQ gets `connection`, which sits outages out. See `workers.queue.connection`.
        """
        super().__init__(
            list(QUEUES.values()),
            name=name,
            connection=connection,
            serializer="json",
            worker_ttl=RQ_MARGIN_S + DEQUEUE_S,
        )
        lease = JobLease(redis, settings.jobs_dir, lease_s=settings.lease_s, max_crashes=settings.max_crashes)
        self._tallies = Tallies(redis)
        self._context = WorkerContext(
            lease, engine, settings, name, self._beat, lambda: self._stop_requested, self._tallies.add
        )
        self._redis = redis
        self._registry = WorkerRegistry(redis)
        self._engine = engine
        self._limits = limits
        self._jobs = 0
        self.drained = False
        """Whether the worker ended because of its limits."""
        self._prefetcher = Prefetcher(redis, settings)
        self._started_at = time.time()
        self._rq_beat_at = 0.0
        self._published_for: int | None = None
        self._told_problem: Problem | None = None

    @property
    def stopping(self) -> bool:
        """Whether the worker was told to end."""
        return bool(self._stop_requested)

    def execute_job(self, job: rq.job.Job, queue: rq.Queue) -> None:
        """Run a job where it finds this worker's engine process."""
        self._jobs += 1
        with worker_context(self._context):
            super().execute_job(job, queue)

    def dequeue_job_and_maintain_ttl(
        self,
        timeout: int | None,
        max_idle_time: int | None = None,  # noqa: ARG002 - RQ's signature
    ) -> Any:
        """Take no job before the model is loaded: another worker may have one that is.

        While the queue server refuses to write, because its disk is full or it has become a replica, wait: RQ
        would end the worker.
        """
        while True:
            while self._engine.state is not EngineState.READY:
                if self._engine.state is EngineState.MISCONFIGURED or self._gives_up():
                    raise StopRequested
                self._engine.poll(DEQUEUE_S / 4)
                self._announce()
            now = time.time()
            if self._limits.are_reached(now, self._jobs):
                self.drained = True
                raise StopRequested
            wait_s = self._limits.wait_s(now)
            try:
                # For RQ a time-out of None is not to wait; it refuses 0.
                taken = super().dequeue_job_and_maintain_ttl(timeout if wait_s != 0 else None, wait_s)
            except ResponseError as error:
                if not str(error).startswith(CANNOT_WRITE):
                    raise
                logger.warning("the queue cannot write: %s", error)
                self.connection.connection_pool.disconnect()
                time.sleep(DEQUEUE_S)
            else:
                self.drained = taken is None
                return taken

    def _gives_up(self) -> bool:
        """Return whether a worker that is to end by itself cannot load its model: nobody would look at it."""
        return not self._limits.is_endless and self._engine.state is EngineState.FAILED

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Give RQ's own sign of life; between jobs also look after the engine process."""
        super().heartbeat(timeout, pipeline)
        if pipeline is None and self.get_state() != WorkerStatus.BUSY:
            self._engine.poll(0)
            self._prefetcher.poll()
            self._announce()

    def get_heartbeat_ttl(self, job: rq.job.Job, working_time: float = 0.0) -> int:  # noqa: ARG002 - RQ's signature
        """Return RQ's lease on a job, in seconds."""
        return RQ_LEASE_S

    def subscribe(self) -> None:
        """Listen to no commands of RQ: a job is stopped through its record."""

    def request_stop(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler
        """Act on SIGTERM and SIGINT: release a running job and end; end at once between jobs."""
        if self._stop_requested:
            return
        self._stop_requested = True
        # From here on an outage is not worth waiting for.
        self.connection.set_retry(NO_RETRY)
        logger.info("stopping (%s)", signal.Signals(signum).name)
        if self.get_state() != WorkerStatus.BUSY:
            raise StopRequested

    def teardown(self) -> None:
        """End the engine process, and withdraw from the registry if the queue answers."""
        self._engine.stop()
        self._redis.set_retry(NO_RETRY)
        self._prefetcher.stop()
        try:
            self._registry.withdraw(self.name)
            super().teardown()  # type: ignore[no-untyped-call]
        except RedisError as error:
            logger.warning("left without good-bye: %s", error)

    def _beat(self) -> None:
        """Announce the worker and look ahead; called when a job's heartbeat has reached the queue server."""
        self._announce()
        if self._engine.ready is not None:
            self._prefetcher.look_ahead(self._engine.ready.cards)
        now = time.monotonic()
        if now - self._rq_beat_at >= RQ_BEAT_S:
            self._rq_beat_at = now
            job = rq.get_current_job()
            if job is not None:
                for execution in tuple(self.executions.values()):
                    self.maintain_heartbeats(job, execution)

    def _announce(self) -> None:
        """Announce this worker to the API and, once for each engine process, publish its models."""
        engine, ready = self._engine, self._engine.ready
        info = WorkerInfo(
            name=self.name,
            state=self._worker_state(),
            device=ready.device if ready else None,
            dtype=ready.dtype if ready else None,
            models=(ready.default_model,) if ready else (),
            started_at=self._started_at,
            problem=engine.problem,
            memory_used=engine.memory.used if engine.memory else None,
            memory_total=engine.memory.total if engine.memory else None,
        )
        try:
            self._registry.announce(info, ttl_s=ANNOUNCEMENT_TTL_S)
            if ready is not None and self._published_for != engine.pid:
                self._registry.publish_models(ready.default_model, ready.cards)
                self._published_for = engine.pid
                self._tallies.add(MODEL_LOADS.observed(engine.load_s or 0.0, ready.default_model))
            if engine.problem is not self._told_problem:
                self._told_problem = engine.problem
                self._tallies.add([MODEL_LOAD_FAILURES.counted()] if engine.problem else [])
        except RedisError as error:
            logger.debug("cannot announce: %s", error)

    def _worker_state(self) -> WorkerState:
        if self._engine.state in {EngineState.FAILED, EngineState.MISCONFIGURED}:
            return WorkerState.FAILED
        if self._engine.state is EngineState.STARTING:
            return WorkerState.STARTING
        return WorkerState.BUSY if self.get_state() == WorkerStatus.BUSY else WorkerState.IDLE


def run_worker(
    settings: WorkerSettings, engine: EngineProcess | None = None, *, limits: WorkLimits | None = None
) -> int:
    """Work until SIGTERM, SIGINT or a limit (exit code 0) or a queue lost for good (1), in the main thread.

    Returns EX_CONFIG at once where the settings name a device or precision that this machine lacks, and
    EX_UNAVAILABLE where a worker with limits cannot load its model. `engine` is an engine process not yet
    started, by default the real one.
    """
    limits = limits or WorkLimits()
    url = settings.redis_url or unix_url(socket_path(settings.queue_dir))
    engine = engine or EngineProcess(ENGINE, settings)
    worker = HotWorker(
        connect(url),
        engine,
        settings,
        connection=connect_patiently(url),
        name=worker_name(),
        limits=limits,
    )
    engine.start()
    worker.work()
    if engine.state is EngineState.MISCONFIGURED:
        return os.EX_CONFIG
    if engine.state is EngineState.FAILED and not (worker.stopping or limits.is_endless):
        return os.EX_UNAVAILABLE
    return 0 if worker.stopping or worker.drained else 1


def worker_name() -> str:
    """Return a name no other worker has.

    It holds host, process and a random part, for containers share host names and process ids.
    """
    return f"{host_name()}-{os.getpid()}-{secrets.token_hex(2)}"
