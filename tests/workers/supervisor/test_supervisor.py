"""The supervisor with all its children, on an embedded queue."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from tests import ROOT
from tests.workers.conftest import STAND_IN
from workers.engine.server import NICENESS
from workers.errors import QueueUnavailableError, SupervisorRunningError
from workers.jobs import JobState
from workers.supervisor.lock import LOCK_NAME, supervisor_lock
from workers.supervisor.valkey import EmbeddedValkey


@pytest.fixture
def valkey(tmp_path: Path) -> EmbeddedValkey:
    """The server that the supervisor will start; not started here."""
    return EmbeddedValkey(tmp_path / "queue")


@pytest.fixture
def supervise(settings) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Starts supervisors, with more environment if told; none is left."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings.environment()}
    del environment["DAREFINE_REDIS_URL"]
    command = [sys.executable, str(STAND_IN / "stand_in_supervisor.py")]
    started: list[subprocess.Popen[bytes]] = []

    def start(**more: str) -> "subprocess.Popen[bytes]":
        started.append(subprocess.Popen(command, env={**environment, **more}, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def children(pid: int) -> list[int]:
    """Process ids of all descendants."""
    own = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return own + [grandchild for child in own for grandchild in children(child)]


def has_worker(bench) -> bool:
    """Whether the queue answers and a worker is ready."""
    try:
        return bool(bench.queue.client.live_workers())
    except RedisError:
        return False


def test_everything_runs_and_ends_in_order(supervise, bench, valkey: EmbeddedValkey, tmp_path: Path) -> None:
    supervisor = supervise()
    bench.wait_until(lambda: has_worker(bench), "a live worker")
    bench.wait(bench.submit(patches=1), JobState.SUCCEEDED)
    assert bench.is_alive(int((tmp_path / "api").read_text()))

    held = bench.submit(hold=True)
    bench.wait_for_file(held, "patch-0")
    family = children(supervisor.pid)
    supervisor.terminate()
    assert supervisor.wait(60) == 0
    assert not [pid for pid in family if bench.is_alive(pid)]

    valkey.start()
    released = bench.queue.client.get(held.id)
    valkey.stop()
    assert (released.state, released.crashes) == (JobState.QUEUED, 0)


def test_the_engine_alone_stands_back_and_all_share_a_session(supervise, bench) -> None:
    supervisor = supervise()
    bench.wait_until(lambda: has_worker(bench), "a live worker")
    family = children(supervisor.pid)
    ours = os.getpriority(os.PRIO_PROCESS, supervisor.pid)
    nicer = [pid for pid in family if os.getpriority(os.PRIO_PROCESS, pid) == min(ours + NICENESS, 19)]
    assert len(nicer) == 1
    assert {os.getsid(pid) for pid in family} == {supervisor.pid}, "between sessions niceness would not count"
    assert supervisor.pid not in {os.getpgid(pid) for pid in family}, "Ctrl-C is for the supervisor"


@pytest.mark.slow
def test_whatever_is_killed_comes_back_and_the_job_is_finished(supervise, bench) -> None:
    supervisor = supervise()
    bench.wait_until(lambda: has_worker(bench), "a live worker")
    job = bench.submit(hold=True, patches=2)
    bench.wait_for_file(job, "patch-0")

    family = children(supervisor.pid)
    supervisor.kill()
    supervisor.wait()
    bench.wait_until(lambda: not [pid for pid in family if bench.is_alive(pid)], "end of all children")

    supervisor = supervise()
    bench.wait_until(lambda: len(bench.starts(job)) == 2, "second start")
    for pid in children(supervisor.pid):
        os.kill(pid, signal.SIGKILL)
    (Path(job.directory) / "go").touch()

    def succeeded() -> bool:
        try:
            return bench.state(job) is JobState.SUCCEEDED
        except RedisError:
            return False

    bench.wait_until(succeeded, "success")


def test_a_second_supervisor_on_the_folder_refuses_and_names_the_first(
    supervise, bench, tmp_path: Path
) -> None:
    first = supervise()
    bench.wait_until(lambda: has_worker(bench), "a live worker")
    with (
        pytest.raises(SupervisorRunningError, match=f"Process {first.pid} ") as refused,
        supervisor_lock(tmp_path),
    ):
        pass
    assert str(tmp_path) in str(refused.value)
    assert supervise().wait(60) == 1
    assert has_worker(bench), "the first goes on"


def test_settings_for_another_machine_end_the_service(supervise, bench) -> None:
    supervisor = supervise(DAREFINE_DEVICE="none")
    assert supervisor.wait(60) == os.EX_CONFIG


def test_a_worker_with_a_wrong_device_leaves_the_others_alone(supervise, bench) -> None:
    supervisor = supervise(DAREFINE_DEVICE="none,cpu", DAREFINE_WORKERS="2")
    bench.wait_until(lambda: has_worker(bench), "a live worker")
    bench.wait(bench.submit(patches=1), JobState.SUCCEEDED)
    assert supervisor.poll() is None


def test_the_folder_is_free_again_however_its_supervisor_ended(supervise, bench, tmp_path: Path) -> None:
    killed = supervise()
    bench.wait_until(lambda: has_worker(bench), "a live worker")
    killed.kill()
    killed.wait()
    with supervisor_lock(tmp_path):
        assert (tmp_path / LOCK_NAME).read_text() == str(os.getpid())


def test_a_data_folder_that_cannot_be_one_is_refused_with_a_cure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(QueueUnavailableError, match="DAREFINE_DATA_DIR"),
        supervisor_lock(tmp_path / "file"),
    ):
        pass
