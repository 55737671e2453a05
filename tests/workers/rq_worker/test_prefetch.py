"""Preparing the next job while another runs: what it does, what it leaves alone, and that nothing suffers from it."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile

from workers.jobs import Job, JobParameters, JobRequest, JobState
from workers.queue.connection import connect
from workers.queue.job_queue import JobQueue
from workers.rq_worker.prefetch import Prefetcher

CARD = {"name": "stand-in", "input": {"mpp": 1.0, "context_ratio": 5, "slices_per_side": 5, "halo_px": 16}}
CARDS = (json.dumps(CARD),)

Submit = Callable[..., Job]


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """Tissue on glass, 900 x 700 px of 1 um."""
    pixels = np.full((700, 900, 3), 245, np.uint8)
    pixels[200:500, 200:600] = (180, 80, 150)
    path = tmp_path / "slide.tif"
    options = {"resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, pixels, tile=(256, 256), photometric="rgb", **options)
    return path


@pytest.fixture
def submit(queue: JobQueue, slide: Path, tmp_path: Path) -> Submit:
    """Queue a job on the slide; keywords are members of its request."""

    def queued(**members: object) -> Job:
        request = JobRequest(slide_id="slide", slide_name="{}", slide_path=str(slide), model="stand-in")
        return queue.submit(replace(request, **members), jobs_root=tmp_path / "jobs")

    return queued


@pytest.fixture
def start_preparer(queue: JobQueue, settings) -> Iterator[Callable[..., Prefetcher]]:
    """Make preparers; none leaves a process behind."""
    made: list[Prefetcher] = []

    def make(**changes: object) -> Prefetcher:
        made.append(Prefetcher(queue, settings.model_copy(update=changes)))
        return made[-1]

    yield make
    for preparer in made:
        preparer.stop()


def has_ended(preparer: Prefetcher) -> bool:
    preparer.poll()
    return preparer.pid is None


def prepared(bench, preparer: Prefetcher, jobs: Sequence[Job]) -> list[bool]:
    """Whether each job has its mask once the preparer has nothing more to do."""
    preparer.look_ahead(CARDS)
    while preparer.pid is not None:
        bench.wait_until(lambda: has_ended(preparer), "end of a preparation")
        preparer.look_ahead(CARDS)
    return [job.files.tissue.exists() for job in jobs]


def hung_preparation(bench, job: Job, worker_pid: int) -> int:
    """The process id of the preparing process of a worker that runs another job."""

    def found() -> list[int]:
        children = psutil.Process(worker_pid).children()
        return [child.pid for child in children if any(job.id in part for part in child.cmdline())]

    bench.wait_until(found, f"a process that prepares {job}")
    return found()[0]


# By a worker


def test_the_next_job_gets_its_mask_while_another_runs(bench, workers, slide: Path) -> None:
    workers.start()
    running = bench.submit(hold=True)
    bench.wait_for_file(running, "patch-0")
    following = bench.submit(slide_path=str(slide))
    mask = bench.wait_for_file(following, "tissue.npz")
    assert [path.name for path in mask.parent.iterdir()] == [mask.name], "and nothing else"
    assert bench.state(following) is JobState.QUEUED
    assert bench.queue.position(following.id) == 0
    (Path(running.directory) / "go").touch()
    for job in (running, following):
        assert bench.wait(job, JobState.SUCCEEDED).attempt == 1


def test_a_slide_that_kills_the_preparing_process_harms_no_other_job(bench, workers, slide: Path) -> None:
    workers.start()
    running = bench.submit(hold=True)
    bench.wait_for_file(running, "patch-0")
    hostile = bench.submit(slide_path=str(slide), prepare="die", error="slide is hostile")
    bench.wait_until(Path(hostile.directory).exists, "an attempt to prepare it")
    healthy = bench.submit(priority="high", slide_path=str(slide))
    bench.wait_for_file(healthy, "tissue.npz")
    assert not hostile.files.tissue.exists()
    (Path(running.directory) / "go").touch()
    done = bench.wait(running, JobState.SUCCEEDED)
    assert (done.attempt, done.crashes, len(bench.starts(running))) == (1, 0, 1)
    bench.wait(healthy, JobState.SUCCEEDED)
    failed = bench.wait(hostile, JobState.FAILED)
    assert failed.error is not None
    assert (failed.error.detail, failed.attempt) == ("slide is hostile", 1)


def test_a_job_whose_turn_has_come_is_not_prepared_any_more(bench, workers, slide: Path) -> None:
    worker = workers.start()
    running = bench.submit(hold=True)
    bench.wait_for_file(running, "patch-0")
    following = bench.submit(slide_path=str(slide), prepare="hang", hold=True)
    process = hung_preparation(bench, following, worker.pid)
    (Path(running.directory) / "go").touch()
    bench.wait_until(lambda: not bench.is_alive(process), "end of the preparation")
    (Path(following.directory) / "go").touch()
    bench.wait(following, JobState.SUCCEEDED)


@pytest.mark.parametrize("give_up", [JobQueue.cancel, JobQueue.delete])
def test_a_job_given_up_while_it_is_prepared_leaves_nothing(bench, workers, slide: Path, give_up) -> None:
    worker = workers.start()
    running = bench.submit(hold=True)
    bench.wait_for_file(running, "patch-0")
    unwanted = bench.submit(slide_path=str(slide), prepare="hang")
    process = hung_preparation(bench, unwanted, worker.pid)
    give_up(bench.queue, unwanted.id)
    bench.wait_until(lambda: not Path(unwanted.directory).exists(), "end of its directory")
    assert not bench.is_alive(process)
    assert bench.state(running) is JobState.RUNNING


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_preparation_ends_with_its_worker(bench, workers, slide: Path, number: int) -> None:
    worker = workers.start()
    running = bench.submit(hold=True)
    bench.wait_for_file(running, "patch-0")
    process = hung_preparation(bench, bench.submit(slide_path=str(slide), prepare="hang"), worker.pid)
    worker.send_signal(number)
    worker.wait(10)
    bench.wait_until(lambda: not bench.is_alive(process), "end of the preparation")


# Choosing


def test_jobs_are_prepared_in_their_order_as_many_as_there_are_workers(bench, submit, start_preparer) -> None:
    last, second, first = submit(), submit(), submit(priority="high")
    preparer = start_preparer()
    assert prepared(bench, preparer, (first, second, last)) == [True, False, False]
    bench.queue.start(first.id, 1, "w")
    bench.queue.dequeue(first.id, 1)
    assert prepared(bench, preparer, (last, second)) == [True, False]
    assert prepared(bench, start_preparer(workers=2), (last, second)) == [True, True]


def test_two_workers_do_not_prepare_the_same_job(submit, start_preparer) -> None:
    submit()
    preparers = [start_preparer() for _ in range(2)]
    for preparer in preparers:
        preparer.look_ahead(CARDS)
    assert [preparer.pid is not None for preparer in preparers] == [True, False]


@pytest.mark.parametrize(
    ("members", "changes"),
    [
        ({"parameters": JobParameters(tissue=False)}, {}),
        ({"model": "unheard-of"}, {}),
        ({}, {"prepare_ahead": False}),
    ],
    ids=["no tissue wanted", "unknown model", "switched off"],
)
def test_what_needs_no_preparation_is_left_alone(submit, start_preparer, members, changes) -> None:
    job = submit(**members)
    preparer = start_preparer(**changes)
    preparer.look_ahead(CARDS)
    assert preparer.pid is None
    assert not Path(job.directory).exists()


def test_a_job_that_ran_before_is_left_alone(submit, start_preparer) -> None:
    job = submit()
    Path(job.directory).mkdir(parents=True)
    preparer = start_preparer()
    preparer.look_ahead(CARDS)
    assert preparer.pid is None


# Manners


def test_the_preparing_process_gives_way(submit, start_preparer) -> None:
    submit()
    preparer = start_preparer()
    preparer.look_ahead(CARDS)
    assert os.getpriority(os.PRIO_PROCESS, preparer.pid) == 19


def test_an_unreadable_slide_is_the_jobs_own_to_report(bench, submit, start_preparer, caplog) -> None:
    job = submit(slide_path="/nowhere/slide.svs")
    assert prepared(bench, start_preparer(), [job]) == [False]
    assert caplog.records == []
    assert bench.state(job) is JobState.QUEUED


def test_a_directory_deleted_meanwhile_is_not_made_again(bench, submit, start_preparer) -> None:
    job = submit()
    preparer = start_preparer()
    preparer.look_ahead(CARDS)
    process = psutil.Process(preparer.pid)
    process.suspend()
    shutil.rmtree(job.directory)
    process.resume()
    bench.wait_until(lambda: not bench.is_alive(process.pid), "end of the preparation")
    assert not Path(job.directory).exists()


def test_an_outage_of_the_queue_is_sat_out(settings, tmp_path: Path) -> None:
    preparer = Prefetcher(JobQueue(connect(f"unix://{tmp_path}/nobody.sock")), settings)
    preparer.look_ahead(CARDS)
    assert preparer.pid is None
