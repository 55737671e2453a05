"""Remember which workers cannot run which jobs, and find those that still may.

A worker refuses a job when the fault lies with its host: no mount, no weights, no right to write. The job
goes to the others, and fails only when there is none left.
"""

from redis import Redis

from ..jobs import JobRequest, Problem
from . import lua_fleet
from .connection import text
from .records import PREFIX, encode_problem
from .registry import WorkerInfo, WorkerRegistry, WorkerState
from .rq_lists import RqLists

REFUSED_TTL_S = 24 * 3600
"""How long a refusal counts, in seconds, if its worker does not take it back."""

SCANNED = 200
"""Waiting jobs of each priority among which a worker looks for one that it can run."""

UNSERVED_S = 60.0
"""Seconds that a job waits while no live worker can run it, until it fails: workers restart."""

WRONG_STORAGE = "storage"
NONE_FITS = "none"
"""Why `Refusals.take` gives no job."""


class Refusals:
    """Refused jobs of each worker, and the choice of jobs that a worker can run."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._lists = RqLists(redis)
        self._registry = WorkerRegistry(redis)
        self._take = redis.register_script(lua_fleet.TAKE)
        self._give_up = redis.register_script(lua_fleet.GIVE_UP)

    def note(self, worker: str, job_id: str, problem: Problem) -> None:
        """Remember that a worker cannot run a job."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hset(_key(worker), job_id, encode_problem(problem))
        pipeline.expire(_key(worker), REFUSED_TTL_S)
        pipeline.execute()

    def forget(self, worker: str) -> None:
        """Let a worker try all jobs again."""
        self._redis.delete(_key(worker))

    def others(self, job_id: str, request: JobRequest, worker: str | None) -> tuple[WorkerInfo, ...]:
        """Return the workers besides `worker` that may run a job, now or when they have started."""
        fit = [
            other
            for other in self._registry.workers()
            if other.name != worker
            and (other.state is WorkerState.STARTING or (other.is_ready and _has_model(other, request)))
        ]
        pipeline = self._redis.pipeline(transaction=False)
        for other in fit:
            pipeline.hexists(_key(other.name), job_id)
        return tuple(other for other, refused in zip(fit, pipeline.execute(), strict=True) if not refused)

    def take(self, entry: str, key: str, worker: WorkerInfo, storage: str) -> tuple[str, str, str]:
        """Judge an entry popped off the list `key`; put it back if `worker` cannot run it, and take another.

        Returns:
            The entry to run and its list; or '', the list, and WRONG_STORAGE or NONE_FITS.
        """
        found = self._take(
            keys=self._lists.keys, args=[entry, key, worker.name, storage, SCANNED, *worker.weights]
        )
        return text(found[0]), text(found[1]), text(found[2])

    def give_up(self, job_id: str, request: JobRequest, grace_s: float = UNSERVED_S) -> bool:
        """Fail a waiting job if no live worker can run it and that has been so for `grace_s` seconds.

        Return whether it failed.
        """
        if self.others(job_id, request, None):
            return False
        names = [worker.name for worker in self._registry.workers()]
        pipeline = self._redis.pipeline(transaction=False)
        for name in names:
            pipeline.hget(_key(name), job_id)
        told = [reply for reply in pipeline.execute() if reply is not None]
        problem = text(told[0]) if told else encode_problem(unserved(request))
        return bool(self._give_up(args=[job_id, grace_s, problem]))


def unserved(request: JobRequest) -> Problem:
    """Return the problem of a job whose model no live worker has."""
    digest = f" with the weights {request.model_sha256[:12]}" if request.model_sha256 else ""
    return Problem(
        "model-gone",
        "No worker has the job's model any more",
        f"The job was sent for the model {request.model}{digest}, which no live worker has. Submit it again "
        "for a model of GET /v1/models, or start a worker that has these weights.",
    )


def _has_model(worker: WorkerInfo, request: JobRequest) -> bool:
    return request.model_sha256 is None or request.model_sha256 in worker.weights


def _key(worker: str) -> str:
    return f"{PREFIX}refused:{worker}"
