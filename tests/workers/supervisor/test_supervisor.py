"""The supervisor with all its children, on an embedded queue."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from tests import ROOT
from tests.workers.conftest import STAND_IN
from tests.workers.full_queue import accept_writes, refuse_writes
from workers.engine.server import NICENESS
from workers.errors import QueueUnavailableError, SupervisorRunningError
from workers.jobs import JobState
from workers.queue.reconciler import SETTLING
from workers.supervisor.lock import LOCK_NAME, supervisor_lock
from workers.supervisor.valkey import EmbeddedValkey


@pytest.fixture
def valkey(tmp_path: Path) -> EmbeddedValkey:
    """The server that the supervisor will start; not started here."""
    return EmbeddedValkey(tmp_path / "queue")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where supervisors log."""
    return tmp_path / "supervisor.log"


@pytest.fixture
def supervise(settings, log: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Starts supervisors, with more environment if told; none is left."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings.environment()}
    del environment["DAREFINE_REDIS_URL"]
    command = [sys.executable, str(STAND_IN / "stand_in_supervisor.py")]
    started: list[subprocess.Popen[bytes]] = []

    def start(**more: str) -> "subprocess.Popen[bytes]":
        with log.open("a") as stderr:
            process = subprocess.Popen(
                command, env={**environment, **more}, start_new_session=True, stderr=stderr
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
    sys.stdout.write(log.read_text()[-8000:])


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


def end_of(supervisor: "subprocess.Popen[bytes]", bench) -> None:
    """Kill a supervisor, as a power cut would, and wait until its children are gone."""
    family = children(supervisor.pid)
    supervisor.kill()
    supervisor.wait()
    bench.wait_until(lambda: not [pid for pid in family if bench.is_alive(pid)], "end of all children")


def test_a_job_whose_record_a_power_cut_took_is_run(
    supervise, bench, valkey: EmbeddedValkey, log: Path
) -> None:
    supervisor = supervise()
    bench.wait_until(lambda: has_worker(bench), "a live worker")
    flushed = valkey.directory / "appendonlydir"
    kept = shutil.copytree(flushed, valkey.directory / "kept")
    job = bench.submit(hold=True, patches=2)
    bench.wait_for_file(job, "patch-0")
    end_of(supervisor, bench)
    shutil.rmtree(flushed)
    kept.rename(flushed)

    supervise()
    bench.wait_until(lambda: len(bench.starts(job)) == 2, "second start")
    (Path(job.directory) / "go").touch()
    bench.wait(job, JobState.SUCCEEDED)
    assert "0 finished ones are listed again, 1 are queued again" in log.read_text()


@pytest.mark.parametrize("part", ["*.incr.aof", "*.base.rdb"])
def test_a_damaged_queue_file_is_mended_with_a_word_on_what_was_lost(
    supervise, bench, valkey: EmbeddedValkey, log: Path, part: str
) -> None:
    supervisor = supervise()
    bench.wait_until(lambda: has_worker(bench), "a live worker")
    jobs = [bench.submit(hold=True, patches=1) for _ in range(3)]
    bench.wait_for_file(jobs[0], "patch-0")
    with Redis.from_url(valkey.url) as redis:
        queue_pid = redis.info("server")["process_id"]
    # The supervisor looks away until the damage is done.
    supervisor.send_signal(signal.SIGSTOP)
    os.kill(queue_pid, signal.SIGKILL)
    bench.wait_until(lambda: not bench.is_alive(queue_pid), "the end of the queue")
    (file,) = (valkey.directory / "appendonlydir").glob(part)
    content = bytearray(file.read_bytes())
    content[20:40] = b"?" * 20
    file.write_bytes(content)
    supervisor.send_signal(signal.SIGCONT)

    for job in jobs:
        Path(job.directory).mkdir(exist_ok=True)
        (Path(job.directory) / "go").touch()
    again = "0 finished ones are listed again, 3 are queued again"
    bench.wait_until(lambda: again in log.read_text(), "a word on the jobs")
    for job in jobs:
        bench.wait(job, JobState.SUCCEEDED)
    told = log.read_text()
    if part == "*.incr.aof":
        assert re.search(r"the last \d+ of \d+ bytes are lost; what it was is in .*\.damaged-", told)
    else:
        assert re.search(r"cannot be read; it is in .*\.damaged-.*, and the queue begins anew", told)
    assert told.count("starting the embedded queue") <= 4
    assert "Traceback" not in told


def test_a_queue_that_cannot_write_is_not_taken_for_dead_and_goes_on(
    supervise, bench, valkey: EmbeddedValkey, log: Path
) -> None:
    supervise()
    bench.wait_until(lambda: has_worker(bench), "a live worker")
    job = bench.submit(hold=True, patches=2)
    bench.wait_for_file(job, "patch-0")
    with Redis.from_url(valkey.url) as redis:
        refuse_writes(redis, valkey)
        pid = redis.info("server")["process_id"]
        bench.wait_until(
            lambda: "the queue does not answer: MISCONF" in log.read_text(), "the supervisor's word"
        )
        assert valkey.answers(), "it says why it cannot"
        (Path(job.directory) / "go").touch()
        bench.wait_for_file(job, "overlay.tif")
        accept_writes(redis, valkey)
        bench.wait(job, JobState.SUCCEEDED)
        bench.wait(bench.submit(patches=1), JobState.SUCCEEDED)
        assert redis.info("server")["process_id"] == pid
    assert log.read_text().count("starting the embedded queue") == 1


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


def test_an_idle_supervisor_looks_often_enough_not_to_seem_asleep(supervise, bench) -> None:
    supervise(DAREFINE_LEASE_S="2")
    bench.wait_until(lambda: has_worker(bench), "a live worker")
    bench.wait_until(lambda: not bench.queue.redis.exists(SETTLING), "the pause after the start")
    for _ in range(70):
        assert not bench.queue.redis.exists(SETTLING), "a lost worker would be missed a lease later"
        time.sleep(0.1)


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
