"""The next job's tissue mask, made while another job runs; that nothing suffers from it."""

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

from tests.workers.conftest import Queue, store_slide
from workers.jobs import Job, JobParameters, JobRequest, JobState
from workers.queue.client import JobClient
from workers.queue.connection import connect
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
def submit(queue: Queue, slide: Path, tmp_path: Path) -> Submit:
    """Queue a job on the slide; keywords are members of its request."""

    def queued(slide_path: str | Path = slide, **members: object) -> Job:
        slide_id = store_slide(tmp_path / "slides", slide_path)
        request = JobRequest(slide_id=slide_id, slide_name="{}", slide_path="", model="stand-in")
        return queue.client.submit(replace(request, **members))

    return queued


@pytest.fixture
def start_prefetcher(queue: Queue, settings) -> Iterator[Callable[..., Prefetcher]]:
    """Make prefetchers; none leaves a process behind."""
    made: list[Prefetcher] = []

    def make(**changes: object) -> Prefetcher:
        made.append(Prefetcher(queue.redis, settings.model_copy(update=changes)))
        return made[-1]

    yield make
    for prefetcher in made:
        prefetcher.stop()


def has_ended(prefetcher: Prefetcher) -> bool:
    prefetcher.poll()
    return prefetcher.pid is None


def prepared(bench, prefetcher: Prefetcher, jobs: Sequence[Job]) -> list[bool]:
    """Whether each job has its mask once the prefetcher has nothing more to do."""
    prefetcher.look_ahead(CARDS)
    while prefetcher.pid is not None:
        bench.wait_until(lambda: has_ended(prefetcher), "end of a preparation")
        prefetcher.look_ahead(CARDS)
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
    assert bench.queue.client.position(following.id) == 0
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


@pytest.mark.parametrize("give_up", [JobClient.cancel, JobClient.delete])
def test_a_job_given_up_while_it_is_prepared_leaves_nothing(bench, workers, slide: Path, give_up) -> None:
    worker = workers.start()
    running = bench.submit(hold=True)
    bench.wait_for_file(running, "patch-0")
    unwanted = bench.submit(slide_path=str(slide), prepare="hang")
    process = hung_preparation(bench, unwanted, worker.pid)
    give_up(bench.queue.client, unwanted.id)
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
    worker.wait(60)
    bench.wait_until(lambda: not bench.is_alive(process), "end of the preparation")


# Choosing


def test_jobs_are_prepared_in_their_order_as_many_as_there_are_workers(
    bench, submit, start_prefetcher
) -> None:
    last, second, first = submit(), submit(), submit(priority="high")
    prefetcher = start_prefetcher()
    assert prepared(bench, prefetcher, (first, second, last)) == [True, False, False]
    bench.queue.lease.start(first.id, 1, "w")
    bench.queue.lists.dequeue(first.id, 1)
    assert prepared(bench, prefetcher, (last, second)) == [True, False]
    assert prepared(bench, start_prefetcher(workers=2), (last, second)) == [True, True]


def test_as_many_waiting_jobs_are_prepared_as_there_are_live_workers(bench, submit, start_prefetcher) -> None:
    jobs = [submit() for _ in range(3)]
    hosts = [start_prefetcher() for _ in range(3)]
    for host in hosts:
        host.look_ahead(CARDS, workers=2)
    assert [host.pid is not None for host in hosts] == [True, True, False]
    hosts[2].look_ahead(CARDS, workers=3)
    assert hosts[2].pid is not None
    for host in hosts:
        bench.wait_until(lambda host=host: has_ended(host), "end of a preparation")
    assert all(job.files.tissue.exists() for job in jobs)


def test_two_workers_do_not_prepare_the_same_job(submit, start_prefetcher) -> None:
    submit()
    prefetchers = [start_prefetcher() for _ in range(2)]
    for prefetcher in prefetchers:
        prefetcher.look_ahead(CARDS)
    assert [prefetcher.pid is not None for prefetcher in prefetchers] == [True, False]


@pytest.mark.parametrize(
    "members",
    [
        {"parameters": JobParameters(tissue=False)},
        {"model": "unheard-of"},
    ],
    ids=["no tissue wanted", "unknown model"],
)
def test_what_needs_no_preparation_is_left_alone(bench, submit, start_prefetcher, members) -> None:
    job, following = submit(**members), submit()
    assert prepared(bench, start_prefetcher(workers=2), (job, following)) == [False, True]
    assert not Path(job.directory).exists()


def test_nothing_is_prepared_when_that_is_switched_off(submit, start_prefetcher) -> None:
    job = submit()
    prefetcher = start_prefetcher(prepare_ahead=False)
    prefetcher.look_ahead(CARDS)
    assert prefetcher.pid is None
    assert not Path(job.directory).exists()
    start_prefetcher().look_ahead(CARDS)
    assert Path(job.directory).exists(), "it was the setting"


def test_a_job_that_ran_before_is_left_alone(bench, submit, start_prefetcher) -> None:
    job, following = submit(), submit()
    Path(job.directory).mkdir(parents=True)
    assert prepared(bench, start_prefetcher(workers=2), (job, following)) == [False, True]
    assert list(Path(job.directory).iterdir()) == []


# Manners


def test_the_preparing_process_gives_way(submit, start_prefetcher) -> None:
    submit()
    prefetcher = start_prefetcher()
    prefetcher.look_ahead(CARDS)
    assert os.getpriority(os.PRIO_PROCESS, prefetcher.pid) == 19


def test_an_unreadable_slide_is_the_jobs_own_to_report(bench, submit, start_prefetcher, caplog) -> None:
    job = submit(slide_path="/nowhere/slide.svs")
    assert prepared(bench, start_prefetcher(), [job]) == [False]
    assert caplog.records == []
    assert bench.state(job) is JobState.QUEUED


def test_a_directory_deleted_meanwhile_is_not_made_again(bench, submit, start_prefetcher) -> None:
    job = submit()
    prefetcher = start_prefetcher()
    prefetcher.look_ahead(CARDS)
    process = psutil.Process(prefetcher.pid)
    process.suspend()
    shutil.rmtree(job.directory)
    process.resume()
    bench.wait_until(lambda: not bench.is_alive(process.pid), "end of the preparation")
    assert not Path(job.directory).exists()


def test_an_outage_of_the_queue_is_sat_out(settings, tmp_path: Path, caplog) -> None:
    caplog.set_level("DEBUG", "workers.rq_worker.prefetch")
    prefetcher = Prefetcher(connect(f"unix://{tmp_path}/nobody.sock"), settings)
    prefetcher.look_ahead(CARDS)
    assert prefetcher.pid is None
    assert "no mask can be made ahead now" in caplog.text
