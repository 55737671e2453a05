"""Large files on their way: services and clients are killed, uploads go on."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tifffile

from darefine.client import AnswerInvalidError, Client, ServiceRefusedError
from darefine.client.resumable import offset_in, place_in, send_resumable
from darefine.client.upload_memory import FORGOTTEN_S, UploadMemory
from tests.service.conftest import api_process

from ..conftest import Api, write_slide

NO_QUEUE = "redis://127.0.0.1:1/0"
PART = 5 << 20


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file goes resumably, in parts of PART bytes."""
    monkeypatch.setattr("darefine.client.client.RESUMABLE_BYTES", 0)
    monkeypatch.setattr("darefine.client.resumable.PART_BYTES", PART)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of 24 MB."""
    path = tmp_path_factory.mktemp("large") / "large.tif"
    pixels = np.random.default_rng(3).integers(0, 255, (2816, 2816, 3), np.uint8)
    tifffile.imwrite(path, pixels, tile=(256, 256), photometric="rgb")
    return path


@pytest.fixture
def client(url: str, tmp_path: Path, parts: None) -> Iterator[Client]:
    with Client(url, cache=tmp_path / "cache", sleep=lambda _: time.sleep(0.01)) as client:
        yield client


def stored(data_dir: Path, slide_id: str) -> bytes:
    """Bytes of a stored slide."""
    (file,) = (data_dir / "slides" / slide_id / "content").iterdir()
    return file.read_bytes()


@pytest.mark.slow
def test_an_upload_goes_on_when_the_service_was_killed(tmp_path: Path, large: Path, parts: None) -> None:
    told: list[int] = []
    with ExitStack() as services:
        first, http = services.enter_context(api_process(tmp_path, NO_QUEUE))
        port = http.base_url.port or 0

        def kill_once(done: int, _: int) -> None:
            told.append(done)
            if done > 2 * PART and first.poll() is None:
                first.kill()
                first.wait()
                services.enter_context(api_process(tmp_path, NO_QUEUE, port))

        with Client(str(http.base_url), cache=tmp_path / "cache") as client:
            slide = client.upload(large, sent=kill_once)
    assert slide.sha256 == hashlib.sha256(large.read_bytes()).hexdigest()
    assert stored(tmp_path, slide.id) == large.read_bytes()
    (back,) = (now for before, now in pairwise(told) if now <= before)
    assert back > 2 * PART, "what was there is not sent again"
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.slow
def test_an_upload_goes_on_when_the_client_was_killed(tmp_path: Path, large: Path, parts: None) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; import darefine.client.client as c, "
        "darefine.client.resumable as r\n"
        f"c.RESUMABLE_BYTES, r.PART_BYTES = 0, {PART}\n"
        f"die = lambda done, _: done > {2 * PART} and os.kill(os.getpid(), signal.SIGKILL)\n"
        "c.Client(sys.argv[1], cache=Path(sys.argv[2])).upload(sys.argv[3], sent=die)"
    )
    told: list[int] = []
    with api_process(tmp_path, NO_QUEUE) as (_, http):
        url, cache = str(http.base_url), tmp_path / "cache"
        done = subprocess.run([sys.executable, "-c", code, url, str(cache), str(large)], check=False)
        assert done.returncode == -9
        with Client(url, cache=cache) as second:
            slide = second.upload(large, sent=lambda done, _: told.append(done))
    assert told[0] > 2 * PART, "what was there is not sent again"
    assert stored(tmp_path, slide.id) == large.read_bytes()


def test_an_upload_that_the_service_has_lost_is_begun_anew(api: Api, client: Client, tmp_path: Path) -> None:
    path = write_slide(tmp_path / "lost.tif", seed=301)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    UploadMemory(tmp_path / "cache").keep(client.url, path.name, sha256, "/v1/uploads/" + "0" * 32)
    assert stored(api.data_dir, client.upload(path).id) == path.read_bytes()
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_lost_last_answer_is_heard_without_sending_a_byte(
    api: Api, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_slide(tmp_path / "answered.tif", seed=302)
    slide = client.upload(path)
    uploads = (api.data_dir / "slides" / ".uploads").iterdir()
    (upload,) = (folder.name for folder in uploads if slide.id in read(folder))
    memory = UploadMemory(tmp_path / "cache")
    assert slide.sha256 is not None
    memory.keep(client.url, path.name, slide.sha256, f"/v1/uploads/{upload}")
    found = send_resumable(
        client._connection, path, slide.sha256, memory, lambda *_: pytest.fail("a byte was sent")
    )
    assert found == f"/v1/slides/{slide.id}"


def read(folder: Path) -> str:
    """The record of an upload."""
    return (folder / "upload.json").read_text()


def test_what_is_no_slide_is_refused_once(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "junk.svs"
    path.write_bytes(b"no slide" * 10**5)
    with pytest.raises(ServiceRefusedError) as refused:
        client.upload(path)
    assert refused.value.kind == "slide-unreadable"
    assert list((tmp_path / "cache").iterdir()) == [], "it is not gone on with"


def test_memory_is_of_one_service_name_and_content_and_ends(tmp_path: Path) -> None:
    memory = UploadMemory(tmp_path / "new" / "cache")
    memory.keep("http://a", "a.svs", "aa", "/v1/uploads/x")
    assert memory.recall("http://a", "a.svs", "aa") == "/v1/uploads/x"
    for other in (("http://b", "a.svs", "aa"), ("http://a", "b.svs", "aa"), ("http://a", "a.svs", "bb")):
        assert memory.recall(*other) is None
    (file,) = (tmp_path / "new" / "cache").iterdir()
    os.utime(file, (time.time() - FORGOTTEN_S - 1,) * 2)
    memory.keep("http://b", "a.svs", "aa", "/v1/uploads/y")
    assert memory.recall("http://a", "a.svs", "aa") is None
    memory.forget("http://b", "a.svs", "aa")
    memory.forget("http://b", "a.svs", "aa")
    assert memory.recall("http://b", "a.svs", "aa") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"path": 3}', "\xff"])
def test_a_damaged_memory_is_none(tmp_path: Path, text: str) -> None:
    memory = UploadMemory(tmp_path)
    memory.keep("http://a", "a.svs", "aa", "/v1/uploads/x")
    next(tmp_path.iterdir()).write_text(text, encoding="latin-1")
    assert memory.recall("http://a", "a.svs", "aa") is None


def test_a_cache_that_cannot_be_written_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    memory = UploadMemory(tmp_path / "file")
    memory.keep("http://a", "a.svs", "aa", "/v1/uploads/x")
    memory.forget("http://a", "a.svs", "aa")
    assert memory.recall("http://a", "a.svs", "aa") is None


def test_an_answer_that_leads_elsewhere_is_none_of_the_service() -> None:
    for header in (None, "", "http://elsewhere/v1/uploads/x", "//elsewhere/v1"):
        with pytest.raises(AnswerInvalidError):
            place_in(header)
    for header in (None, "", "-1", "x"):
        with pytest.raises(AnswerInvalidError):
            offset_in(header)
