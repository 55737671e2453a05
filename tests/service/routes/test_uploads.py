"""Uploads that are resumed: tus 1.0 over a real API, also one that is killed in the middle."""

import base64
import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tifffile

from service.access.keys import KeyStore, Scope
from service.errors import StorageFullError
from service.receive import BUFFER
from tests import ROOT

from ..conftest import Api, api_process, assert_problem, running_api, write_slide

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}


def metadata(**pairs: str) -> str:
    """An Upload-Metadata header."""
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())


def begin(
    http: httpx.Client,
    length: int,
    name: str = "slide.tif",
    headers: dict[str, str] | None = None,
    **more: str,
) -> httpx.Response:
    """Begin an upload."""
    told = {"Upload-Length": str(length), "Upload-Metadata": metadata(filename=name, **more)}
    return http.post("/v1/uploads", headers={**TUS, **told, **(headers or {})})


def append(
    http: httpx.Client, url: str, offset: int, content: Any, headers: dict[str, str] | None = None
) -> httpx.Response:
    """Send bytes."""
    return http.patch(
        url, content=content, headers={**BYTES, "Upload-Offset": str(offset), **(headers or {})}
    )


def offset_of(http: httpx.Client, url: str) -> int:
    """How many bytes are there."""
    answer = http.head(url, headers=TUS)
    assert answer.status_code == 200
    return int(answer.headers["upload-offset"])


def left(api: Api) -> list[str]:
    """Bytes of unfinished uploads."""
    return [str(path) for path in (api.data_dir / "slides").glob(".*/*/*") if path.name in ("part", "upload")]


@pytest.fixture
def content(tmp_path: Path, request: pytest.FixtureRequest) -> bytes:
    """A slide of each test's own."""
    seed = int.from_bytes(hashlib.sha256(request.node.name.encode()).digest()[:4])
    return write_slide(tmp_path / "slide.tif", seed=seed).read_bytes()


@pytest.fixture
def key(api: Api, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Headers with a key that may send at most a million bytes at a time."""
    name = request.node.name
    yield {
        "Authorization": f"Bearer {KeyStore(api.data_dir).add(name, Scope.SUBMIT, max_slide_bytes=10**6)[1]}"
    }
    KeyStore(api.data_dir).revoke(name)


def test_a_whole_upload_becomes_the_slide_that_a_put_makes(api: Api, content: bytes) -> None:
    begun = begin(api.http, len(content), "folder/slide.tif", sha256=hashlib.sha256(content).hexdigest())
    assert begun.status_code == 201
    url, half = begun.headers["location"], len(content) // 2
    first = append(api.http, url, 0, content[:half])
    assert (first.status_code, first.headers["upload-offset"]) == (204, str(half))
    assert "location" not in first.headers
    last = append(api.http, url, half, content[half:])
    assert (last.status_code, last.headers["upload-offset"]) == (204, str(len(content)))
    assert {answer.headers["tus-resumable"] for answer in (begun, first, last)} == {"1.0.0"}
    slide = api.http.get(last.headers["location"]).json()
    put = api.http.put("/v1/slides?filename=slide.tif", content=content).json()
    assert put == slide
    assert slide["sha256"] == hashlib.sha256(content).hexdigest()
    again = append(api.http, url, len(content), b"")
    assert (again.status_code, again.headers["location"]) == (204, last.headers["location"])
    asked = api.http.head(url, headers=TUS)
    assert asked.headers["upload-offset"] == asked.headers["upload-length"] == str(len(content))
    assert asked.headers["location"] == last.headers["location"]
    assert api.http.delete(url, headers=TUS).status_code == 204
    assert api.http.get(last.headers["location"]).status_code == 200, "the slide stays"
    assert left(api) == []


def test_the_service_says_what_it_speaks(api: Api) -> None:
    answer = api.http.request("OPTIONS", "/v1/uploads")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert set(answer.headers["tus-extension"].split(",")) == {"creation", "expiration", "termination"}
    assert int(answer.headers["tus-max-size"]) == api.settings.max_slide_bytes
    other = api.http.post("/v1/uploads", headers={"Upload-Length": "1", "Upload-Metadata": "filename YQ=="})
    assert_problem(other, 412, "tus-version")
    assert other.headers["tus-version"] == other.headers["tus-resumable"] == "1.0.0"


def test_bytes_go_on_where_they_are_and_nowhere_else(api: Api, content: bytes) -> None:
    url = begin(api.http, len(content)).headers["location"]
    append(api.http, url, 0, content[:1000])
    for wrong in (0, 999, 1001, len(content) + 1):
        refused = append(api.http, url, wrong, content[1000:2000])
        assert_problem(refused, 409, "upload-offset")
        assert refused.headers["upload-offset"] == "1000"
        assert refused.headers["tus-resumable"] == "1.0.0"
    assert offset_of(api.http, url) == 1000
    too_many = append(api.http, url, 1000, content[1000:] + b"x")
    assert_problem(too_many, 413, "slide-too-large")
    plain = api.http.patch(url, content=b"x", headers={**TUS, "Upload-Offset": "1000"})
    assert_problem(plain, 415, "upload-media-type")
    assert offset_of(api.http, url) == 1000
    unannounced = append(api.http, url, 1000, iter([content[1000:] + b"x"]))
    assert_problem(unannounced, 413, "slide-too-large")
    offset = offset_of(api.http, url)
    assert 1000 <= offset <= len(content), "what came before too much did may be kept"
    whole = append(api.http, url, offset, content[offset:])
    slide = api.http.get(whole.headers["location"]).json()
    assert slide["sha256"] == hashlib.sha256(content).hexdigest()


def test_what_cannot_become_a_slide_is_refused_before_a_byte_flows(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_problem(begin(api.http, 10**7 + 1), 413, "slide-too-large")
    assert_problem(begin(api.http, 10, ".."), 422, "slide-name")
    assert_problem(begin(api.http, 10, sha256="AB" * 32), 422, "request-invalid")
    for headers in ({"Upload-Length": "-1"}, {"Upload-Length": "x"}, {"Upload-Metadata": "filename !"}):
        assert_problem(begin(api.http, 10, headers=headers), 422, "request-invalid")
    monkeypatch.setattr("service.slides.disk.DISK_RESERVE", 10**18)
    assert_problem(begin(api.http, 10), 507, "storage-full")
    assert left(api) == []


def test_uploads_together_do_not_promise_more_than_the_disk_has(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 15_000_000
    monkeypatch.setattr("service.slides.disk.room", lambda _: room)
    first = begin(api.http, 9_000_000).headers["location"]
    assert_problem(begin(api.http, 9_000_000), 507, "storage-full")
    assert api.http.delete(first, headers=TUS).status_code == 204
    second = begin(api.http, 9_000_000)
    assert second.status_code == 201
    assert api.http.delete(second.headers["location"], headers=TUS).status_code == 204
    assert_problem_of_head(api, second.headers["location"])


def assert_problem_of_head(api: Api, url: str) -> None:
    """Nothing is there for any method."""
    assert api.http.head(url, headers=TUS).status_code == 404
    assert_problem(append(api.http, url, 0, b"x"), 404, "upload-not-found")
    assert_problem(api.http.delete(url, headers=TUS), 404, "upload-not-found")


@pytest.mark.parametrize("upload_id", ["0" * 32, "x" * 32, "..", "%2e%2e%2f%2e%2e", "\u0660" * 32])
def test_senseless_ids_are_not_found(api: Api, upload_id: str) -> None:
    assert api.http.head(f"/v1/uploads/{upload_id}", headers=TUS).status_code in (404, 405)


def test_what_is_no_slide_is_refused_with_the_last_byte_and_removed(api: Api) -> None:
    junk = b"no slide at all" * 100
    url = begin(api.http, len(junk), "junk.svs").headers["location"]
    refused = append(api.http, url, 0, junk)
    assert_problem(refused, 422, "slide-unreadable")
    put = api.http.put("/v1/slides?filename=junk.svs", content=junk)
    assert refused.json() == put.json(), "the same words as for a PUT"
    assert_problem_of_head(api, url)
    assert left(api) == []


def test_other_bytes_than_announced_are_refused_and_removed(api: Api, content: bytes) -> None:
    url = begin(api.http, len(content), sha256="0" * 64).headers["location"]
    detail = assert_problem(append(api.http, url, 0, content), 422, "upload-damaged")
    assert hashlib.sha256(content).hexdigest() in detail
    assert left(api) == []


def test_a_full_disk_keeps_what_came(api: Api, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    url = begin(api.http, len(content)).headers["location"]
    append(api.http, url, 0, content[:1000])
    with monkeypatch.context() as patch:
        patch.setattr("service.slides.disk.DISK_RESERVE", 10**18)
        assert_problem(append(api.http, url, 1000, content[1000:]), 507, "storage-full")
    assert append(api.http, url, 1000, content[1000:]).headers["location"]


def test_a_slide_that_could_not_be_kept_for_want_of_space_is_made_without_sending_it_again(
    api: Api, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = begin(api.http, len(content)).headers["location"]
    with monkeypatch.context() as patch:

        def full(*_: object) -> None:
            raise StorageFullError("full")

        patch.setattr("service.slides.store.SlideStore._publish", full)
        assert_problem(append(api.http, url, 0, content), 507, "storage-full")
    assert offset_of(api.http, url) == len(content)
    assert append(api.http, url, len(content), b"").headers["location"]
    assert api.http.delete(url, headers=TUS).status_code == 204
    assert left(api) == []


def test_keys_limit_uploads_and_own_them(api: Api, key: dict[str, str], content: bytes) -> None:
    assert_problem(begin(api.http, 10**6 + 1, headers=key), 413, "slide-too-large")
    content = content[: 10**6]
    url = begin(api.http, len(content), headers=key).headers["location"]
    other = KeyStore(api.data_dir).add("somebody else", Scope.SUBMIT)[1]
    theirs = {"Authorization": f"Bearer {other}"}
    assert api.http.head(url, headers={**TUS, **theirs}).status_code == 404
    assert_problem(append(api.http, url, 0, b"x", theirs), 404, "upload-not-found")
    assert_problem(api.http.delete(url, headers={**TUS, **theirs}), 404, "upload-not-found")
    KeyStore(api.data_dir).revoke("somebody else")
    assert append(api.http, url, 0, content[:10], key).status_code == 204
    assert offset_of(api.http, url) == 10, "who may all may that"
    assert api.http.delete(url, headers={**TUS, **key}).status_code == 204
    audit = (api.data_dir / "audit.log").read_text()
    for method in ("POST", "PATCH", "DELETE"):
        assert any(url in line and f'"{method}"' in line for line in audit.splitlines())


def test_a_client_that_comes_back_ends_its_dead_connection(api: Api, content: bytes) -> None:
    url = begin(api.http, len(content)).headers["location"]
    head = "".join(f"{name}: {value}\r\n" for name, value in {**BYTES, "Upload-Offset": "0"}.items())
    host = f"{api.http.base_url.host}:{api.http.base_url.port}"
    request = f"PATCH {url} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(content)}\r\n{head}\r\n"
    with socket.create_connection((api.http.base_url.host, api.http.base_url.port or 0)) as dead:
        dead.sendall(request.encode() + content[:5000])
        time.sleep(0.5)  # to ask ends that request, which must have its bytes by then
        deadline = time.monotonic() + 20
        while (offset := offset_of(api.http, url)) == 0:
            assert time.monotonic() < deadline
        assert offset == 5000, "what had come is kept"
        assert append(api.http, url, offset, content[offset:]).headers["location"]
        assert b"423" in dead.recv(1000).split(b"\r\n")[0]


def test_two_that_send_at_once_do_not_mix(api: Api, content: bytes) -> None:
    url = begin(api.http, len(content), sha256=hashlib.sha256(content).hexdigest()).headers["location"]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: append(api.http, url, 0, content), range(4)))
    assert {answer.status_code for answer in answers} <= {204, 409, 423}
    # One of them got on. If it was ended before its answer, going on makes the slide.
    offset = offset_of(api.http, url)
    assert 0 < offset <= len(content)
    answer = append(api.http, url, offset, content[offset:])
    assert answer.status_code == 204
    slide = api.http.get(answer.headers["location"]).json()
    assert slide["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_client_that_falls_silent_is_let_go(api: Api, content: bytes) -> None:
    with running_api(api.settings.model_copy(update={"upload_idle_s": 0.1})) as http:
        url = begin(http, len(content)).headers["location"]

        def stall() -> Iterator[bytes]:
            yield content[:3000]
            time.sleep(1)
            yield content[3000:]

        for refused in (
            append(http, url, 0, stall()),
            http.put("/v1/slides?filename=a.tif", content=stall()),
        ):
            assert_problem(refused, 408, "upload-idle")
        assert offset_of(http, url) == 3000
        assert http.delete(url, headers=TUS).status_code == 204
        assert left(api) == []


def test_an_upload_expires_and_is_swept(
    api: Api, content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("service.slides.sweeper.EVERY_S", 0.05)
    settings = api.settings.model_copy(update={"upload_hours": 0.5, "data_dir": tmp_path / "expiring"})
    with running_api(settings) as http:
        begun = begin(http, len(content))
        url = begun.headers["location"]
        expires = parsedate_to_datetime(begun.headers["upload-expires"]).timestamp()
        assert expires == pytest.approx(time.time() + 1800, abs=30)
        append(http, url, 0, content[:10])
        folder = tmp_path / "expiring" / "slides" / ".uploads" / url.rpartition("/")[2]
        for file in folder.iterdir():
            os.utime(file, (time.time() - 1801,) * 2)
        assert http.head(url, headers=TUS).status_code == 404
        killed = tmp_path / "expiring" / "slides" / ".incoming" / "of a killed API"
        killed.mkdir()
        (killed / "lock").touch()
        os.utime(killed / "lock", (time.time() - 60,) * 2)
        deadline = time.monotonic() + 10
        while folder.exists() or killed.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.slow
def test_kill_9_in_the_middle_loses_nothing_and_the_upload_goes_on(tmp_path: Path) -> None:
    pixels = np.random.default_rng(9).integers(0, 255, (2816, 2816, 3), np.uint8)
    tifffile.imwrite(tmp_path / "large.tif", pixels, tile=(256, 256), photometric="rgb")
    content = (tmp_path / "large.tif").read_bytes()
    redis, offset, url = "redis://127.0.0.1:1/0", 0, ""
    name = "twice killed.tif"
    for _ in range(2):
        with api_process(tmp_path, redis) as (process, http):
            url = url or begin(http, len(content), name).headers["location"]
            offset = offset_of(http, url)
            kill_in_the_middle(process, http, url, offset, content, tmp_path)
    raw = tmp_path / "slides" / ".incoming"
    assert len(list(raw.iterdir())) == 2, "a killed process leaves its parts"
    for left_over in raw.glob("*/lock"):
        os.utime(left_over, (time.time() - 60,) * 2)
    with api_process(tmp_path, redis) as (_, http):
        assert list(raw.iterdir()) == [], "which the next one sweeps"
        offset = offset_of(http, url)
        assert BUFFER < offset < len(content), "both had something written"
        done = append(http, url, offset, content[offset:])
        slide = http.get(done.headers["location"]).json()
    assert (slide["name"], slide["sha256"]) == (name, hashlib.sha256(content).hexdigest())
    (stored,) = (tmp_path / "slides" / slide["id"] / "content").iterdir()
    assert stored.read_bytes() == content


def kill_in_the_middle(
    process: subprocess.Popen[str],
    http: httpx.Client,
    url: str,
    offset: int,
    content: bytes,
    data_dir: Path,
) -> None:
    """Send a third of `content` in an upload that is resumed and in a PUT; then kill the server with -9."""
    third, before = len(content) // 3, bytes_below(data_dir)

    def sent() -> Iterator[bytes]:
        yield content[offset : offset + third]
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            time.sleep(0.2)
            if bytes_below(data_dir) >= before + 2 * BUFFER:
                process.kill()
            yield b"x"

    with ThreadPoolExecutor(1) as pool:
        put = pool.submit(http.put, "/v1/slides?filename=raw.tif", content=sent())
        with pytest.raises(httpx.TransportError):
            append(http, url, offset, sent())
        assert isinstance(put.exception(), httpx.TransportError)


def bytes_below(folder: Path) -> int:
    """Size of all files in a folder and below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.skipif(
    shutil.which("curl") is None, reason="NO CURL: the commands of docs/uploads.md are not run"
)
def test_the_commands_of_the_documentation_upload_a_slide(api: Api, content: bytes, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "uploads.md").read_text(encoding="utf-8")
    commands = page.partition("```bash\n")[2].partition("```")[0]
    commands = commands.replace("http://127.0.0.1:8000", str(api.http.base_url).rstrip("/"))
    (tmp_path / "slide.svs").write_bytes(content)
    done = subprocess.run(
        ["bash", "-euc", commands], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    slide = api.http.get(done.stdout.split()[1]).json()
    assert (slide["name"], slide["sha256"]) == ("slide.svs", hashlib.sha256(content).hexdigest())
