"""A disk that is full for a while: jobs pause and say so, then go on by themselves to the same bytes."""

import subprocess
import time
from collections.abc import Callable, Iterator
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


@pytest.fixture
def confined(
    small_disk: Path, tiny_model: Path, large_phantom: PhantomFiles, tmp_path: Path
) -> Iterator[RunningService]:
    """A service whose data folder is on the small disk; it reads slides in place."""
    environment = {"DAREFINE_SLIDE_ROOTS": str(large_phantom.slide.parent)}
    log = tmp_path / "service.log"
    with started_service(small_disk / "data", tiny_model, log, environment) as running:
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
        time.sleep(0.2)
    return job


def test_a_job_waits_while_the_disk_is_full(
    confined: RunningService, small_disk: Path, large_phantom: PhantomFiles
) -> None:
    with Client(confined.url) as client:
        slide_id = client.register(str(large_phantom.slide)).id
        undisturbed = client.submit(slide_id, force=True).id
        wait_for(client, undisturbed, lambda job: job.state == JobState.SUCCEEDED)
        job_id = client.submit(slide_id, force=True).id
        wait_for(client, job_id, lambda job: job.progress.patches_done >= 2)
        ballast = fill(small_disk)
        # The queue's own file is on the same disk: it may have no room for the news.
        time.sleep(10)
        assert confined.process.is_running()
        assert "GB are free" in httpx.get(f"{confined.url}/readyz").json()["checks"]["storage"]
        ballast.unlink()
        job = wait_for(client, job_id, lambda job: job.state in {JobState.SUCCEEDED, JobState.FAILED})
        assert job.state == JobState.SUCCEEDED, job.error
        hashes = [
            {name: file.sha256 for name, file in client.result(one).files.items()}
            for one in (undisturbed, job_id)
        ]
        assert hashes[0] == hashes[1]
