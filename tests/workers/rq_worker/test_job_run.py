"""One job from the worker's side, with a real engine process that says what it is told to."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.workers.conftest import Bench
from workers.jobs import JobState, Problem, Progress
from workers.protocol import Failed, FromEngine, ProgressMade, Stopped, Succeeded
from workers.rq_worker.engine_process import EngineProcess, entry_named
from workers.rq_worker.job_run import Outcome, WorkerContext

SOME = ProgressMade(Progress(patches_done=1))
PROBLEM = Problem("slide-unreadable", "Not a slide", "Send a slide.")

StartEngine = Callable[[list[FromEngine]], EngineProcess]


@pytest.fixture
def start_engine(settings, tmp_path: Path) -> Iterator[StartEngine]:
    """Start an engine process that answers a job with messages; it is not left behind."""
    started: list[EngineProcess] = []

    def start(messages: list[FromEngine]) -> EngineProcess:
        entry = entry_named("tests.workers.rq_worker.scripted_engine:main", tmp_path, messages)
        started.append(EngineProcess(entry, settings))
        started[-1].start()
        return started[-1]

    yield start
    for engine in started:
        engine.kill()


@pytest.mark.parametrize(
    ("messages", "outcome", "state"),
    [
        ([SOME, Succeeded()], Outcome.SUCCEEDED, JobState.SUCCEEDED),
        ([SOME, Failed(PROBLEM, suspect=False)], Outcome.FAILED, JobState.FAILED),
        ([SOME, Stopped()], Outcome.CANCELLED, JobState.CANCELLED),
        ([SOME], Outcome.RELEASED, JobState.QUEUED),
    ],
    ids=["succeeded", "failed", "cancelled", "unfinished"],
)
def test_a_worker_that_stops_publishes_what_is_finished_and_gives_back_what_is_not(
    bench: Bench, settings, start_engine: StartEngine, tmp_path: Path, messages, outcome, state
) -> None:
    engine = start_engine(messages)

    def stopping() -> bool:
        """Once the job runs, true: by then the engine has said all, and nobody has read it."""
        if not (tmp_path / "got").exists():
            return False
        (tmp_path / "go").touch()
        bench.wait_until((tmp_path / "said").exists, "the engine's messages")
        return True

    context = WorkerContext(bench.queue.lease, engine, settings, "w", lambda: None, stopping)
    job = bench.submit()
    assert context.run(job.id, 1) is outcome
    over = bench.queue.client.get(job.id)
    assert (over.state, over.error) == (state, PROBLEM if state is JobState.FAILED else None)


@pytest.mark.parametrize("named", [True, False])
def test_a_setting_keeps_the_name_of_the_slide_from_the_engine(
    bench: Bench, settings, start_engine: StartEngine, tmp_path: Path, named: bool
) -> None:
    engine = start_engine([])
    obeyed = settings.model_copy(update={"slide_names": named})
    context = WorkerContext(bench.queue.lease, engine, obeyed, "w", lambda: None, (tmp_path / "got").exists)
    job = bench.submit()
    assert context.run(job.id, 1) is Outcome.RELEASED
    assert (tmp_path / "got").read_text() == (job.request.slide_name if named else job.request.slide_id)


def test_an_attempt_that_is_no_longer_wanted_is_not_sent(
    bench: Bench, settings, start_engine: StartEngine, tmp_path: Path
) -> None:
    engine = start_engine([])
    context = WorkerContext(bench.queue.lease, engine, settings, "w", lambda: None, lambda: False)
    job = bench.submit()
    bench.queue.client.cancel(job.id)
    assert context.run(job.id, 1) is Outcome.STALE
    engine.kill()
    assert not (tmp_path / "got").exists()


@pytest.mark.parametrize("again", [False, True])
def test_the_log_says_of_a_crashed_job_whether_it_is_tried_again(
    bench: Bench, settings, caplog: pytest.LogCaptureFixture, again: bool
) -> None:
    caplog.set_level(logging.INFO, logger="workers")
    engine = EngineProcess(entry_named("tests.workers.stand_in.stand_in_engine:main"), settings)
    engine.start()
    context = WorkerContext(bench.queue.lease, engine, settings, "w", lambda: None, lambda: False)
    job = bench.submit(patches=1, die_at=[0], die_once=again)
    try:
        assert context.run(job.id, 1) is (Outcome.SUCCEEDED if again else Outcome.FAILED)
    finally:
        engine.kill()
    crashes = 1 if again else 2
    assert caplog.text.count("exit code 11; see the worker's log.") == crashes
    assert caplog.text.count("tried again as attempt 2") == 1
    assert "given up" not in caplog.text
    error = bench.queue.client.get(job.id).error
    assert again == (error is None)
    assert error is None or "given up" in error.detail
