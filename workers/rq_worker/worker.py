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
from rq.job import JobStatus
from rq.worker import SimpleWorker, WorkerStatus

from ..errors import ForbiddenTaskError
from ..queue.connection import connect, connect_patiently, socket_path, unix_url
from ..queue.lease import JobLease
from ..queue.registry import host_name
from ..queue.rq_lists import QUEUES, RQ_TTL_S, TASK
from ..queue.tallies import Tallies
from ..settings import WorkerSettings
from ..work_limits import WorkLimits
from .announcer import Announcer
from .engine_process import ENGINE, EngineProcess, EngineState
from .host_health import HostHealth, is_about_weights
from .job_choice import JobChoice
from .job_run import WorkerContext
from .prefetch import Prefetcher
from .tasks import run_job, worker_context

logger = logging.getLogger(__name__)

DEQUEUE_S = 4
"""How long RQ waits for a job at a time, in seconds; in between the worker looks after its engine process."""

LOOK_S = 0.5
"""How long the worker listens to an engine process that is not ready at a time, in seconds."""

PASS_S = 1.0
"""Pause before a worker looks again that found none but jobs for others, in seconds."""

LOOK_AHEAD_S = 2.0
"""How often the waiting jobs are looked at while one runs, in seconds."""

RQ_MARGIN_S = 15
"""RQ waits `worker_ttl` less this."""

RQ_LEASE_S = 60
RQ_BEAT_S = 15.0
"""RQ's own lease and heartbeat, kept only so that its tools do not call a long job abandoned."""

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
        self._health = HostHealth()
        tally = Tallies(redis).add
        self._context = WorkerContext(
            lease, engine, settings, name, self._beat, lambda: self._stop_requested, tally, self._health
        )
        self._redis = redis
        self._lease = lease
        self._choice = JobChoice(redis, lease.refusals, settings)
        self._announcer = Announcer(redis, name, engine, self._health, settings)
        self._engine = engine
        self._limits = limits
        self._jobs = 0
        self.drained = False
        """Whether the worker ended because of its limits."""
        self._prefetcher = Prefetcher(redis, settings)
        self._rq_beat_at = 0.0
        self._look_ahead_at = 0.0

    @property
    def stopping(self) -> bool:
        """Whether the worker was told to end."""
        return bool(self._stop_requested)

    @property
    def is_unfit(self) -> bool:
        """Whether this host is set aside."""
        return self._health.reason is not None

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
        """Take no job before the model is loaded, nor while the host is unfit: others may be better off.

        Take none, either, that this worker cannot run, but the next that it can. While the queue server
        refuses to write, because its disk is full or it has become a replica, wait: RQ would end the worker.
        """
        idle_since: float | None = None
        while True:
            self._wait_until_fit()
            now = time.time()
            idle_since = idle_since or now
            if self._limits.are_reached(now, self._jobs):
                self.drained = True
                raise StopRequested
            wait_s = self._limits.wait_s(now)
            try:
                # For RQ a time-out of None is not to wait; it refuses 0.
                taken = super().dequeue_job_and_maintain_ttl(timeout if wait_s != 0 else None, wait_s)
                if taken is None:
                    self.drained = True
                    return None
                chosen = self._choice.choose(*taken, self._announcer.info(busy=False), self.job_class)
            except ResponseError as error:
                self._sit_out(error)
                continue
            if chosen is not None:
                return chosen
            # All that wait are for others.
            if wait_s is not None and time.time() - idle_since >= wait_s:
                self.drained = True
                return None
            self._announce()
            time.sleep(PASS_S)

    def _sit_out(self, error: ResponseError) -> None:
        """Wait a little, for a new connection, if the queue server said that it cannot write."""
        if not str(error).startswith(CANNOT_WRITE):
            raise error
        logger.warning("the queue cannot write: %s", error)
        self.connection.connection_pool.disconnect()
        time.sleep(DEQUEUE_S)

    def _wait_until_fit(self) -> None:
        """Return once the engine process is ready and nothing is wrong with the host."""
        while True:
            self._recover()
            if self._engine.state is EngineState.READY and self._health.reason is None:
                return
            if self._engine.state is EngineState.MISCONFIGURED or self._gives_up():
                raise StopRequested
            if self._engine.state is EngineState.READY:
                time.sleep(LOOK_S)
            self._engine.poll(LOOK_S)
            self._announce()

    def _gives_up(self) -> bool:
        """Return whether a worker that is to end by itself is of no use: nobody would look at it."""
        unfit = self._engine.state is EngineState.FAILED or self.is_unfit
        return unfit and not self._limits.is_endless

    def _recover(self) -> None:
        """Look whether a host that was set aside is fit again; then it may try all jobs."""
        try:
            gone = self._health.recover(self._choice.could_run_nowhere)
            if gone:
                self._lease.refusals.forget(self.name)
        except RedisError as error:
            logger.debug("cannot look after jobs now: %s", error)
            return
        if any(is_about_weights(fault.problem) for fault in gone):
            self._engine.start()

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Give RQ's own sign of life now and then; between jobs also look after the engine process."""
        if pipeline is not None:
            super().heartbeat(timeout, pipeline)
            return
        now = time.monotonic()
        if now - self._rq_beat_at >= RQ_BEAT_S:
            self._rq_beat_at = now
            super().heartbeat(timeout)
        if self.get_state() != WorkerStatus.BUSY:
            self._engine.poll(0)
            self._prefetcher.poll()
            self._announce()

    def set_state(self, state: str, pipeline: Any = None) -> None:  # noqa: ARG002 - RQ's signature
        """Keep RQ's state here only: the API reads what `_announce` says."""
        self._state = state

    def check_for_suspension(self, burst: bool) -> None:
        """Look for no command of RQ that suspends workers."""

    def handle_job_success(
        self,
        job: rq.job.Job,
        queue: rq.Queue,  # noqa: ARG002 - RQ's signature
        started_job_registry: Any,  # noqa: ARG002
        execution: Any,
    ) -> None:
        """Close RQ's books on a run at little cost: how it ended is in our own record."""
        with self.connection.pipeline(transaction=False) as pipeline:
            job.set_status(JobStatus.FINISHED, pipeline=pipeline)
            pipeline.expire(job.key, RQ_TTL_S)
            self.cleanup_execution(job, pipeline=pipeline, execution=execution)
            pipeline.execute()

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
            self._announcer.withdraw()
            super().teardown()  # type: ignore[no-untyped-call]
        except RedisError as error:
            logger.warning("left without good-bye: %s", error)

    def _beat(self) -> None:
        """Announce the worker and look ahead; called when a job's heartbeat has reached the queue server."""
        self._announce()
        now = time.monotonic()
        if self._engine.ready is not None and now >= self._look_ahead_at:
            self._look_ahead_at = now + LOOK_AHEAD_S
            self._prefetcher.look_ahead(self._engine.ready.cards, self._announcer.fleet.workers)
        if now - self._rq_beat_at >= RQ_BEAT_S:
            self._rq_beat_at = now
            job = rq.get_current_job()
            if job is not None:
                for execution in tuple(self.executions.values()):
                    self.maintain_heartbeats(job, execution)

    @property
    def _is_busy(self) -> bool:
        return bool(self.get_state() == WorkerStatus.BUSY)

    def _announce(self) -> None:
        self._announcer.announce(busy=self._is_busy)


def run_worker(
    settings: WorkerSettings, engine: EngineProcess | None = None, *, limits: WorkLimits | None = None
) -> int:
    """Work until SIGTERM, SIGINT or a limit (exit code 0) or a queue lost for good (1), in the main thread.

    Returns EX_CONFIG at once where the settings name a device or precision that this machine lacks, and
    EX_UNAVAILABLE where a worker with limits cannot load its model, or its host is unfit. `engine` is an
    engine process not yet started, by default the real one.
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
    if (engine.state is EngineState.FAILED or worker.is_unfit) and not (worker.stopping or limits.is_endless):
        return os.EX_UNAVAILABLE
    return 0 if worker.stopping or worker.drained else 1


def worker_name() -> str:
    """Return a name no other worker has.

    It holds host, process and a random part, for containers share host names and process ids.
    """
    return f"{host_name()}-{os.getpid()}-{secrets.token_hex(2)}"
