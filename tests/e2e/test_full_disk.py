"""A disk that is full for a while: jobs pause and say so, then go on by themselves to the same bytes."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from darefine.client import Client, Job, JobState
from wsi.phantom import PhantomFiles

from .conftest import RunningService, started_service

pytestmark = pytest.mark.e2e

DISK_MB = 1536
PATIENCE_S = 90


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def confined(
    disk: Path, card: Path, slide: Path, folder: Path, *, queue: Path | None = None
) -> Iterator[RunningService]:
    """A service whose data folder is on the small disk, its queue too if not told; it reads in place."""
    environment = {"DAREFINE_SLIDE_ROOTS": str(slide.parent)}
    if queue is not None:
        environment["DAREFINE_QUEUE_DIR"] = str(queue)
    with started_service(disk / "data", card, folder / "service.log", environment) as running:
        yield running


def fill(disk: Path) -> Path:
    """Write a file until nothing more fits."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    return ballast


def wait_for(client: Client, job_id: str, reached: Callable[[Job], bool]) -> Job:
    deadline = time.monotonic() + PATIENCE_S
    while not reached(job := client.job(job_id)):
        assert time.monotonic() < deadline, job
        time.sleep(0.02)
    return job


def checks(service: RunningService) -> dict[str, str]:
    """What /readyz says of each part."""
    answer = httpx.get(f"{service.url}/readyz")
    assert answer.status_code == 503
    found: dict[str, str] = answer.json()["checks"]
    return found


@pytest.mark.parametrize("queue_on_it", [True, False])
def test_a_job_waits_while_the_disk_is_full(
    small_disk: Path, tiny_model: Path, large_phantom: PhantomFiles, tmp_path: Path, queue_on_it: bool
) -> None:
    queue = None if queue_on_it else tmp_path / "queue"
    slide = large_phantom.slide
    with (
        confined(small_disk, tiny_model, slide, tmp_path, queue=queue) as service,
        Client(service.url) as client,
    ):
        slide_id = client.register(str(slide)).id
        undisturbed = client.submit(slide_id, force=True).id
        wait_for(client, undisturbed, lambda job: job.state == JobState.SUCCEEDED)
        job_id = client.submit(slide_id, force=True).id
        wait_for(client, job_id, lambda job: job.progress.patches_done >= 1)
        # The job would be over before the disk is full.
        engine = service.part("multiprocessing.spawn")
        engine.suspend()
        ballast = fill(small_disk)
        engine.resume()
        # A queue on the same disk may have no room for the news.
        if not queue_on_it:
            waiting = wait_for(client, job_id, lambda job: job.progress.stage == "disk-full")
            assert waiting.state == JobState.RUNNING
            assert checks(service)["queue"] == "ok"
        time.sleep(10)
        assert service.process.is_running()
        assert "GB are free" in checks(service)["storage"]
        ballast.unlink()
        job = wait_for(client, job_id, lambda job: job.state in {JobState.SUCCEEDED, JobState.FAILED})
        assert job.state == JobState.SUCCEEDED, job.error
        assert job.attempt == 1
        hashes = [
            {name: file.sha256 for name, file in client.result(one).files.items()}
            for one in (undisturbed, job_id)
        ]
        assert hashes[0] == hashes[1]
