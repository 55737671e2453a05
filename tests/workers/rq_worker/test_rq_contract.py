"""RQ is as the worker leans on it; of most of this RQ promises nothing. Begin here to raise its version."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import rq
import rq.job
from rq.exceptions import StopRequested
from rq.worker import SimpleWorker, WorkerStatus

from workers.queue.rq_lists import QUEUES, TASK, rq_id

from ..conftest import Queue

SIGNATURES: dict[Callable[..., Any], tuple[str, ...]] = {
    SimpleWorker.execute_job: ("self", "job", "queue"),
    SimpleWorker.dequeue_job_and_maintain_ttl: ("self", "timeout", "max_idle_time"),
    SimpleWorker.heartbeat: ("self", "timeout", "pipeline"),
    SimpleWorker.get_heartbeat_ttl: ("self", "job", "working_time"),
    SimpleWorker.maintain_heartbeats: ("self", "job", "execution"),
    SimpleWorker.subscribe: ("self",),
    SimpleWorker.request_stop: ("self", "signum", "frame"),
    SimpleWorker.teardown: ("self",),
    SimpleWorker.get_state: ("self",),
    SimpleWorker.set_state: ("self", "state", "pipeline"),
    SimpleWorker.check_for_suspension: ("self", "burst"),
    SimpleWorker.handle_job_success: ("self", "job", "queue", "started_job_registry", "execution"),
    SimpleWorker.cleanup_execution: ("self", "job", "pipeline", "execution"),
    rq.job.Job.set_status: ("self", "status", "pipeline"),
    rq.Queue.from_queue_key: (
        *("queue_key", "connection", "job_class", "serializer", "death_penalty_class"),
    ),
    rq.Queue.remove: ("self", "job_or_id", "pipeline"),
    rq.job.Job.key_for: ("job_id",),
}
"""What the worker overrides or calls, and with which arguments."""


@pytest.mark.parametrize("method", SIGNATURES, ids=lambda method: method.__qualname__)
def test_methods_take_what_they_took(method: Callable[..., Any]) -> None:
    assert tuple(inspect.signature(method).parameters) == SIGNATURES[method]


class OwnJob(rq.job.Job):
    """A job that runs what we say, whatever it names."""

    @property
    def func(self) -> Callable[[str, int], str]:
        """What runs."""
        return lambda job_id, attempt: f"{job_id} {attempt}"


class RecordingWorker(SimpleWorker):
    """Notes which of the methods that our worker overrides are called."""

    job_class = OwnJob

    def __init__(self, called: set[str], **settings: Any) -> None:
        self.called = called
        super().__init__(["darefine"], serializer="json", **settings)

    def __getattribute__(self, name: str) -> Any:
        if name in OVERRIDDEN:
            super().__getattribute__("called").add(name)
        return super().__getattribute__(name)


OVERRIDDEN = {
    "dequeue_job_and_maintain_ttl",
    "execute_job",
    "heartbeat",
    "subscribe",
    "teardown",
    "get_heartbeat_ttl",
    "set_state",
    "check_for_suspension",
    "handle_job_success",
}


def test_a_worker_calls_what_ours_overrides(queue: Queue) -> None:
    """An override that nobody calls any more would be silent: jobs would run before the model is loaded."""
    listed = rq.Queue("darefine", connection=queue.redis, serializer="json")
    job = listed.enqueue_call(TASK, args=("one", 1), job_id="one-1", timeout=-1, result_ttl=60)
    called: set[str] = set()
    worker = RecordingWorker(called, connection=queue.redis, name="recording", worker_ttl=17)
    worker.work(burst=True)
    assert called == OVERRIDDEN
    assert job.return_value() == "one 1"


@pytest.mark.parametrize("name", ["func", "success_callback", "failure_callback", "stopped_callback"])
def test_what_a_job_runs_is_looked_up_where_it_is_overridden(name: str) -> None:
    assert isinstance(inspect.getattr_static(rq.job.Job, name), property)


def test_lists_are_lists_of_names_taken_from_the_left(queue: Queue) -> None:
    lists = {name: rq.Queue(name, connection=queue.redis, serializer="json") for name in QUEUES.values()}
    for name, front in (("second", False), ("third", False), ("first", True)):
        ttl: Any = {"timeout": -1, "result_ttl": 60, "failure_ttl": 60}
        lists["darefine"].enqueue_call(TASK, args=(name, 1), job_id=rq_id(name, 1), at_front=front, **ttl)
    key = lists["darefine"].key
    assert queue.redis.type(key) == b"list"
    assert queue.redis.lrange(key, 0, -1) == [b"first-1", b"second-1", b"third-1"]
    assert queue.redis.exists(rq.job.Job.key_for("first-1"))
    taken = rq.Queue.dequeue_any(list(lists.values()), None, connection=queue.redis, serializer="json")
    assert taken is not None
    assert (taken[0].id, taken[0].func_name, list(taken[0].args)) == ("first-1", TASK, ["first", 1])


def test_a_worker_has_the_attributes_that_are_read(queue: Queue) -> None:
    worker = SimpleWorker(["darefine"], name="one", connection=queue.redis, serializer="json", worker_ttl=17)
    assert (worker._stop_requested, worker.executions, worker.worker_ttl) == (False, {}, 17)
    assert worker.get_state() != WorkerStatus.BUSY
    assert worker.connection.set_retry
    assert issubclass(StopRequested, Exception)
    assert SimpleWorker.max_connection_wait_time
