"""The client against the real API; a stand-in worker finishes the jobs."""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from darefine.client import (
    AnswerInvalidError,
    Client,
    JobState,
    JobUnsuccessfulError,
    ServiceRefusedError,
    ServiceUnreachableError,
    WaitTimeoutError,
)
from darefine.client.client import plain_name

from ..conftest import OVERLAY, Api, Finisher, write_slide


def quickly(seconds: float) -> None:
    time.sleep(min(seconds, 0.02))


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url, sleep=quickly) as client:
        yield client


def test_the_client_loads_neither_torch_nor_the_service() -> None:
    code = (
        "import sys, darefine.client; "
        "sys.exit(bool({'torch', 'numpy', 'fastapi', 'redis', 'service'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_from_slide_to_files(client: Client, finisher: Finisher, tmp_path: Path) -> None:
    path = write_slide(tmp_path / "case.tif", seed=201)
    told: list[tuple[int, int]] = []
    slide = client.upload(path, sent=lambda done, total: told.append((done, total)))
    size = path.stat().st_size
    assert told[-1] == (size, size)
    assert slide.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    finisher.hold = True
    job = client.submit(slide.id, model="stand-in", mpp=0.5, priority="high")
    assert (job.state, job.slide.name, job.parameters["mpp"]) == (JobState.QUEUED, "case.tif", 0.5)
    finisher.hold = False
    states = []
    assert client.wait(job.id, progress=lambda job: states.append(job.state)).state is JobState.SUCCEEDED
    assert states[-1] is JobState.SUCCEEDED
    result = client.result(job.id)
    assert [(one.name, one.fraction) for one in result.classes] == [("normal", 0.75), ("in situ", 0.25)]
    assert (result.mpp.source, result.model.sha256) == ("tiff-resolution", "ab" * 32)
    assert result.device == "none", "members that the client does not know are kept"
    files = client.download_results(job.id, tmp_path / "out")
    assert {name: path.name for name, path in files.items()} == {
        "overlay.tif": "case.stand-in.overlay.tif",
        "labels.tif": "case.stand-in.labels.tif",
        "result.json": "case.stand-in.result.json",
    }
    assert files["overlay.tif"].read_bytes() == OVERLAY
    assert json.loads(files["result.json"].read_text()) == result.document()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        path.name for path in files.values()
    ), "nothing half done is left"


def test_a_slide_that_the_service_has_is_not_sent(client: Client, tmp_path: Path) -> None:
    path = write_slide(tmp_path / "known.tif", seed=202)
    first = client.upload(path)
    for name in ("known.tif", "renamed.tif"):
        again = client.upload(path.rename(tmp_path / name), sent=lambda *_: pytest.fail("a byte was sent"))
        path = tmp_path / name
        assert (again.name, again.sha256) == (name, first.sha256)
        assert (again == first) == (name == "known.tif")
    assert client.find_slide("0" * 64) is None


def test_options_are_judged_without_a_slide(client: Client) -> None:
    judged = client.preflight(mpp=0.25)
    assert (judged.model.name, judged.model.sha256) == ("stand-in", "ab" * 32)
    assert judged.parameters["mpp"] == 0.25
    with pytest.raises(ServiceRefusedError, match=r"^422 .*Known models: stand-in") as refused:
        client.preflight(model="other")
    assert (refused.value.status, refused.value.kind) == (422, "model-unknown")
    assert refused.value.problem["title"]


def test_a_slide_is_read_where_it_lies(client: Client, api: Api) -> None:
    path = write_slide(api.slide_root / "in-place.tif", seed=203)
    slide = client.register(str(path))
    assert slide.sha256 is None
    assert client.submit(uri=str(path)).slide.id == slide.id
    assert slide in client.slides()
    assert client.slide(slide.id) == slide


def test_a_failed_job_says_why(client: Client, finisher: Finisher, tmp_path: Path) -> None:
    job = client.submit(client.upload(write_slide(tmp_path / "bad.tif", seed=204)).id)
    with pytest.raises(JobUnsuccessfulError, match=r"ended as failed\. tile 7 is damaged") as failed:
        client.wait(job.id)
    assert failed.value.job.error is not None
    with pytest.raises(ServiceRefusedError) as refused:
        client.download_results(job.id, tmp_path / "out")
    assert refused.value.kind == "result-not-ready"
    assert not (tmp_path / "out").exists()


def test_waiting_ends_when_told_and_the_job_can_be_cancelled_and_removed(
    client: Client, tmp_path: Path
) -> None:
    slide = client.upload(write_slide(tmp_path / "waits.tif", seed=205))
    job = client.submit(slide.id)
    with pytest.raises(WaitTimeoutError, match="still queued"):
        client.wait(job.id, timeout_s=0)
    with pytest.raises(ServiceRefusedError) as busy:
        client.delete_slide(slide.id)
    assert busy.value.kind == "slide-in-use"
    assert client.cancel(job.id).state is JobState.CANCELLED
    with pytest.raises(JobUnsuccessfulError, match="cancelled"):
        client.wait(job.id)
    client.delete_job(job.id)
    client.delete_slide(slide.id)
    for call in (client.job, client.cancel, client.delete_job, client.result):
        with pytest.raises(ServiceRefusedError, match="404"):
            call(job.id)


def test_retry_after_is_honoured(url: str, tmp_path: Path) -> None:
    pauses: list[float] = []

    def note(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    with Client(url, sleep=note) as client:
        job = client.submit(client.upload(write_slide(tmp_path / "long.tif", seed=206)).id)
        with pytest.raises(KeyboardInterrupt):
            client.wait(job.id)
        client.cancel(job.id)
    assert pauses == [1.0, 1.0, 1.0]


def test_jobs_are_listed_page_by_page(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darefine.client.client.PAGE", 2)
    slide = client.upload(write_slide(tmp_path / "many.tif", seed=207))
    ids = [client.submit(slide.id).id for _ in range(5)]
    queued = [job.id for job in client.jobs("queued")]
    assert queued[:5] == ids[::-1]
    for job_id in ids:
        client.cancel(job_id)


def test_models_are_listed(client: Client) -> None:
    models = client.models()
    (model,) = models.models
    assert models.default == model.name == "stand-in"
    assert (model.input.mpp, model.phantom, model.weights.sha256) == (0.934, True, "ab" * 32)
    assert [one.name for one in model.classes] == ["normal"]


def test_nobody_there() -> None:
    with Client("http://127.0.0.1:9", sleep=lambda _: pytest.fail("waits for a wrong address")) as client:
        assert not client.ready()
        with pytest.raises(ServiceUnreachableError, match="darefine serve"):
            client.submit("x")
    with Client("127.0.0.1:9") as client, pytest.raises(ServiceUnreachableError, match="http://"):
        client.slides()


@pytest.mark.parametrize("name", ["../overlay.tif", "/etc/passwd", "..", "a\\b", ""])
def test_a_file_name_of_the_service_leads_nowhere_else(name: str) -> None:
    with pytest.raises(AnswerInvalidError):
        plain_name(name)
