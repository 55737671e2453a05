"""kill -9 of each part in the middle of a job: it finishes by itself, with the same bytes."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from darefine.client import Client, Result
from darefine.client.resumable import RESUMABLE_BYTES
from wsi.phantom import PhantomFiles

from .conftest import RunningService

pytestmark = pytest.mark.e2e

PARTS = {
    "model process": "multiprocessing.spawn",
    "worker": "-m workers",
    "api": "uvicorn",
    "queue": "valkey-server",
}
"""What is killed, and how its command line is told from the others'."""


@pytest.fixture(scope="module")
def slide_id(service: RunningService, large_phantom: PhantomFiles) -> Iterator[str]:
    """The slide of all runs, uploaded once."""
    client = Client(service.url)
    yield client.upload(large_phantom.slide).id
    client.close()


@pytest.fixture(scope="module")
def undisturbed(service: RunningService, slide_id: str) -> dict[str, str]:
    """sha256 of the result files of a run that nobody disturbs."""
    client = Client(service.url)
    job = client.submit(slide_id, force=True)
    *_, job = client.follow(job.id)
    assert job.state == "succeeded", job
    hashes = file_hashes(client.result(job.id))
    client.close()
    return hashes


def file_hashes(result: Result) -> dict[str, str]:
    return {name: file.sha256 for name, file in result.files.items()}


@pytest.mark.parametrize("part", PARTS)
def test_kill_in_the_middle_of_a_job(
    service: RunningService, client: Client, slide_id: str, undisturbed: dict[str, str], part: str
) -> None:
    service.wait_ready()
    job_id = client.submit(slide_id, force=True).id
    killed_at = None
    for job in client.follow(job_id):
        if killed_at is None and job.progress.patches_done >= 2:
            killed_at = job.progress.patches_done
            service.part(PARTS[part]).kill()
    assert killed_at is not None, "the job was over before anything could be killed"
    assert killed_at < job.progress.patches_total
    assert job.state == "succeeded", job.error
    assert file_hashes(client.result(job_id)) == undisturbed


def test_a_resumed_job_goes_on_where_it_was(service: RunningService, client: Client, slide_id: str) -> None:
    service.wait_ready()
    job_id = client.submit(slide_id, force=True).id
    before = after = None
    for job in client.follow(job_id):
        done = job.progress.patches_done
        if before is None and done >= 3:
            before = done
            service.part(PARTS["model process"]).kill()
        elif before is not None and after is None and job.attempt == 2 and job.progress.stage == "segment":
            after = done
    assert job.attempt == 2
    assert after is not None
    assert after >= before


def test_an_upload_goes_on_after_a_kill_of_the_api(
    service: RunningService, client: Client, large_phantom: PhantomFiles, tmp_path: Path
) -> None:
    service.wait_ready()
    # Large enough to go on with, and not the bytes of other tests, which would not be sent again.
    content = large_phantom.slide.read_bytes().ljust(RESUMABLE_BYTES + 1, b"\x01")
    slide = tmp_path / "large.tif"
    slide.write_bytes(content)
    told: list[int] = []
    killed_after: list[int] = []

    def kill_once(done: int, total: int) -> None:
        told.append(done)
        if not killed_after and done > total // 2:
            killed_after.append(len(told))
            service.part(PARTS["api"]).kill()

    stored = client.upload(slide, sent=kill_once)
    again = told[killed_after[0] :]
    assert min(again) > 2 * told[0], "from where it was, not from its beginning"
    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    assert client.wait(client.submit(stored.id, force=True).id).state == "succeeded"
