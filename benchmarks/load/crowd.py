"""Clients of a service, each kind in a process of its own: pollers and listeners, an uploader."""

import asyncio
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from urllib.parse import SplitResult, urlsplit

import httpx

CHUNK_BYTES = 1 << 20


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
