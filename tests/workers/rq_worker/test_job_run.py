"""One job from the worker's side, with a model process that has already said everything."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from workers.jobs import JobRequest, JobState, Progress
from workers.protocol import FromModel, ProgressMade, RunJob, Succeeded
from workers.queue.job_queue import JobQueue
from workers.rq_worker.engine_process import ModelState
from workers.rq_worker.job_run import Outcome, WorkerContext

REQUEST = JobRequest(slide_id="slide", slide_name="a.svs", slide_path="/slides/a.svs", model="stand-in")


class Told:
    """A loaded model process with `messages` in its pipe once it got a job."""

    state = ModelState.READY

    def __init__(self, messages: Sequence[FromModel]) -> None:
        self._messages = list(messages)
        self.runs: list[RunJob] = []

    def send(self, message: RunJob) -> None:
        self.runs.append(message)

    def receive(self, timeout_s: float) -> FromModel | None:
        return self._messages.pop(0) if self.runs and self._messages else None

    def kill(self) -> None:
        self._messages.clear()


@pytest.mark.parametrize(
    ("messages", "outcome", "state"),
    [
        ([ProgressMade(Progress(patches_done=1)), Succeeded()], Outcome.SUCCEEDED, JobState.SUCCEEDED),
        ([ProgressMade(Progress(patches_done=1))], Outcome.RELEASED, JobState.QUEUED),
    ],
)
def test_a_worker_that_stops_publishes_what_is_finished_and_gives_back_what_is_not(
    queue: JobQueue, settings, messages: list[FromModel], outcome: Outcome, state: JobState
) -> None:
    model = Told(messages)
    workplace = WorkerContext(queue, model, settings, "w", lambda: None, lambda: bool(model.runs))
    job = queue.submit(REQUEST, jobs_root=Path("/jobs"))
    assert workplace.run(job.id, 1) is outcome
    assert queue.get(job.id).state is state
