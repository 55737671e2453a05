"""Clients of a service, each kind in a process of its own: pollers and listeners, an uploader."""

import asyncio
import multiprocessing
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from urllib.parse import SplitResult, urlsplit

import httpx
import psutil

from ..tiles import timed

CHUNK_BYTES = 1 << 20
FILE_BYTES = 1 << 30
POLLERS = 200
LISTENERS = 20
PROBES_PER_SECOND = 20
WARM_UP_S = 5
"""Until all clients are there."""


@contextmanager
def crowded(url: str, job_id: str, upload_bytes: int) -> Iterator[tuple[BaseProcess, Connection]]:
    """Let all clients use a service meanwhile; yield the uploader, and where it says its bytes a second."""
    spawn = multiprocessing.get_context("spawn")
    speed, theirs = spawn.Pipe(duplex=False)
    uploading = spawn.Process(target=upload, args=(url, upload_bytes, FILE_BYTES, theirs))
    asking = spawn.Process(target=poll_and_listen, args=(url, job_id, POLLERS, LISTENERS))
    with beside(asking), beside(uploading):
        time.sleep(WARM_UP_S)
        yield uploading, speed


def probes(http: httpx.Client, path: str, while_true: Callable[[], bool]) -> Iterator[float]:
    """Ask for a path PROBES_PER_SECOND times a second; yield the milliseconds of each answer."""
    while while_true():
        begun = time.perf_counter()
        yield from timed(http, [path])
        time.sleep(max(0.0, begun + 1 / PROBES_PER_SECOND - time.perf_counter()))


def api_process(url: str) -> psutil.Process:
    """Return the process that listens at `url`."""
    port = httpx.URL(url).port
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,):
            return psutil.Process(connection.pid)
    raise LookupError(f"nobody listens at {url}")


def resident_mb(process: psutil.Process) -> int:
    """Return the resident memory of a process, MB."""
    return round(process.memory_info().rss / 1e6)


@contextmanager
def beside(process: BaseProcess) -> Iterator[None]:
    """Let a process run meanwhile."""
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def poll_and_listen(url: str, job_id: str, pollers: int, listeners: int) -> None:
    """Ask for a job once a second with so many clients, and listen to its events with others, for ever."""
    asyncio.run(_crowd(url, f"/v1/jobs/{job_id}", pollers, listeners))


async def _crowd(url: str, path: str, pollers: int, listeners: int) -> None:
    # Not by a library's client: one that computes as much as the service would measure itself.
    where = urlsplit(url)
    request = f"GET {path}{{}} HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n"
    async with asyncio.TaskGroup() as tasks:
        for _ in range(listeners):
            tasks.create_task(_listen(where, request.format("/events").encode()))
        for index in range(pollers):
            tasks.create_task(_poll(where, request.format("").encode(), index / pollers))


async def _poll(where: SplitResult, request: bytes, phase_s: float) -> None:
    await asyncio.sleep(phase_s)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    while True:
        begun = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"^HTTP/1.1 200 .*\r\ncontent-length: (\d+)\r\n", head, re.DOTALL | re.IGNORECASE)
        assert length, head
        await reader.readexactly(int(length[1]))
        await asyncio.sleep(max(0.0, begun + 1 - time.perf_counter()))


async def _listen(where: SplitResult, request: bytes) -> None:
    while True:
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(request)
        while await reader.read(CHUNK_BYTES):
            pass
        writer.close()


def upload(url: str, total_bytes: int, file_bytes: int, told: Connection) -> None:
    """Send files of noise one after the other; say the bytes a second in the end.

    They are no slides: the service reads and hashes each whole, and refuses it then.
    """
    noise = os.urandom(CHUNK_BYTES)

    def body(number: int) -> Iterator[bytes]:
        yield number.to_bytes(8, "big")
        for _ in range(file_bytes // CHUNK_BYTES):
            yield noise

    begun = time.perf_counter()
    with httpx.Client(base_url=url, timeout=600) as http:
        files = -(-total_bytes // file_bytes)
        for number in range(files):
            answer = http.put("/v1/slides", params={"filename": f"{number}.svs"}, content=body(number))
            assert answer.status_code == 422, answer.text
    told.send(files * file_bytes / (time.perf_counter() - begun))
