"""Keep embedded queue, workers and API running, and requeue lost jobs, in one process."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from types import FrameType

from redis.exceptions import RedisError

from ..errors import QueueUnavailableError, SupervisorRunningError
from ..queue.connection import connect
from ..queue.reconciler import Reconciler
from ..queue.recovery import recover_jobs
from ..queue.suitable import require_suitable
from ..queue.tallies import REQUEUED, RESTARTS, Tallies
from ..settings import WorkerSettings
from ..work_limits import WorkLimits
from .lock import supervisor_lock
from .mounts import require_local_disk
from .process import RestartingProcess
from .valkey import EmbeddedValkey

logger = logging.getLogger(__name__)

TICK_S = 0.5
"""How often ended programs are started again."""

BUSY_PAUSE_S, IDLE_PAUSE_S = 1.0, 3.0
"""How often lost jobs are looked for, while there are jobs and while there are none."""

WORKER_COMMAND = (sys.executable, "-m", "workers")


def worker_processes(
    settings: WorkerSettings, command: Sequence[str], limits: WorkLimits
) -> list[RestartingProcess]:
    """Return the workers of a host, not started; one with limits that is done is not started again."""
    last_codes = (os.EX_CONFIG,) if limits.is_endless else (0, os.EX_CONFIG, os.EX_UNAVAILABLE)
    return [
        RestartingProcess(
            f"worker {index}",
            [*command, *limits.to_arguments()],
            settings.model_copy(update={"device": settings.device_of(index)}).environment(),
            last_codes=last_codes,
        )
        for index in range(settings.workers)
    ]


class Supervisor:
    """Runs a whole service, or the workers of one host, until told to stop.

    Killed without warning it takes its children along (Linux); the next start goes on where the jobs were.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        api_command: Sequence[str] | None = None,
        *,
        worker_command: Sequence[str] = WORKER_COMMAND,
        limits: WorkLimits | None = None,
    ) -> None:
        """Prepare to run workers, and the API if `api_command` names its program and arguments.

        Both get the settings in their environment, each worker its `limits` as arguments.
        """
        self._settings = settings
        self._valkey = None if settings.redis_url else EmbeddedValkey(settings.queue_dir)
        url = self._valkey.url if self._valkey else settings.redis_url
        assert url is not None
        shared = settings.model_copy(update={"redis_url": url})
        self._workers = worker_processes(shared, worker_command, limits or WorkLimits())
        self._programs = list(self._workers)
        if api_command is not None:
            self._programs.append(RestartingProcess("api", api_command, shared.environment()))
        self._redis = connect(url)
        self._tallies = Tallies(self._redis)
        self._reconciler = Reconciler(
            self._redis,
            lost_after_s=settings.lost_after_s,
            lease_s=settings.lease_s,
            max_losses=settings.max_losses,
        )
        self._reconcile_at = 0.0
        self._may_lack_jobs = self._valkey is not None
        """Whether the embedded queue may know less than the jobs' folders: a power cut takes its last second,
        a damaged file more."""
        self._queue_answers = True
        self._stop = threading.Event()

    def run(self) -> int:
        """Keep everything running until SIGTERM or SIGINT, then end it in order. Call it in the main thread.

        With limits it ends, too, once all workers have. Returns the exit code: 0; 1 if the queue cannot be
        one, cannot be started, or is another supervisor's; EX_CONFIG or EX_UNAVAILABLE if no worker is left
        and one could not load a model. The log says why.
        """
        before = {
            number: signal.signal(number, self._request_stop) for number in (signal.SIGTERM, signal.SIGINT)
        }
        with ExitStack() as closing:
            try:
                if self._valkey is None:
                    require_suitable(self._redis)
                else:
                    require_local_disk(self._settings.queue_dir)
                    closing.enter_context(supervisor_lock(self._settings.data_dir))
                    self._start_queue(self._valkey)
                while not self._stop.is_set():
                    self._tick()
                    codes = [worker.ended for worker in self._workers if worker.ended is not None]
                    if len(codes) == len(self._workers):
                        return max(codes)
                    self._stop.wait(TICK_S)
            except (QueueUnavailableError, SupervisorRunningError) as error:
                logger.error("%s", error)  # noqa: TRY400 - the message says it all
                return 1
            finally:
                self._end()
                for number, handler in before.items():
                    signal.signal(number, handler)
        return 0

    def _request_stop(self, number: int, _: FrameType | None) -> None:
        logger.info("stopping (%s)", signal.Signals(number).name)
        self._stop.set()

    def _tick(self) -> None:
        if self._valkey is not None and self._valkey.ended:
            self._revive(self._valkey)
        restarted = [program.name.split()[0] for program in self._programs if program.poll()]
        if restarted:
            self._tallies.add(RESTARTS.counted(name) for name in restarted)
        now = time.monotonic()
        if now < self._reconcile_at:
            return
        pause = IDLE_PAUSE_S if self._reconciler.is_idle else BUSY_PAUSE_S
        # A gap as long as a lease looks as if the machine had slept: the reconciler would wait a lease more.
        self._reconcile_at = now + min(pause, self._settings.lease_s / 2)
        try:
            self._list_lost_jobs()
            done = self._reconciler.tick()
            self._tallies.add(REQUEUED.counted("worker-lost") for _ in done.reaped)
            self._tallies.add(REQUEUED.counted("not-in-queue") for _ in done.restored)
        except RedisError as error:
            if self._queue_answers:
                logger.warning("the queue does not answer: %s", error)
            self._queue_answers = False
            self._reconcile_at = now + TICK_S
            if self._valkey is not None and not self._valkey.answers():
                self._revive(self._valkey)
        else:
            self._queue_answers = True

    def _revive(self, valkey: EmbeddedValkey) -> None:
        logger.warning("the embedded queue is gone, starting it again")
        self._start_queue(valkey)
        self._tallies.add([RESTARTS.counted("queue")])

    def _start_queue(self, valkey: EmbeddedValkey) -> None:
        """Start the embedded queue, and list what it has lost before anybody misses it."""
        valkey.start()
        self._may_lack_jobs |= valkey.lost
        valkey.lost = False
        try:
            self._list_lost_jobs()
        except RedisError as error:
            # Its disk may be full; `_tick` tries again.
            logger.warning("jobs that the queue may have lost cannot be listed now: %s", error)

    def _list_lost_jobs(self) -> None:
        """List jobs again that the embedded queue may have lost, from their folders, as far as that goes."""
        if not self._may_lack_jobs:
            return
        found = recover_jobs(self._redis, self._settings.jobs_dir)
        self._may_lack_jobs = False
        if found.finished or found.queued:
            logger.warning(
                "the embedded queue had lost jobs: %d finished ones are listed again, %d are queued again",
                len(found.finished),
                len(found.queued),
            )

    def _end(self) -> None:
        """End workers and API first, for they report to the queue; the queue last."""
        for program in self._programs:
            program.terminate()
        deadline = time.monotonic() + self._settings.stop_grace_s
        for program in self._programs:
            program.join(deadline)
        if self._valkey is not None:
            self._valkey.stop()
