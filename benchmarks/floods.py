"""Throw floods at a running service and measure its memory, and how long a normal upload takes beside each.

`python -m benchmarks.floods` starts a service of its own. The floods come from a process on the same cores,
each again and again until the normal uploads are through. Writes `benchmarks/results/floods.json` and the
table of `benchmarks/README.md`.
"""

import contextlib
import io
import multiprocessing
import os
import socket
import statistics
import struct
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import click
import httpx
import numpy as np
import tifffile

from darefine.cli.demo import running_service
from workers.bench.measure import machine

from .load.crowd import api_process, beside, resident_mb
from .options import out_option
from .tables import write_results

BLOCK = bytes(b"x" * (1 << 20))
BODY_BYTES = 600_000_000
PART_HEAD_BYTES = 400_000_000
SLOW_CONNECTIONS = 320
STALLED_BYTES = 1_000_000
SHARED_BYTES = 20_000_000
SHARERS = 3000
PAUSE_S = 0.1
RISE_S = 5.0
SLIDE_PX = 4096
PUT = "PUT /v1/slides?filename={} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n"


@click.command()
@click.option(
    "--uploads", type=click.IntRange(min=1), default=5, show_default=True, help="Beside each flood."
)
@out_option("floods")
def main(uploads: int, out: Path | None) -> None:
    """Measure, write the results and print the table."""
    with (
        tempfile.TemporaryDirectory(prefix="darefine-") as name,
        running_service(Path(name, "data"), Path(name, "service.log")) as client,
    ):
        slide = normal_slide()
        measure(client.url, slide, 1)
        figures = {"nothing": measure(client.url, slide, uploads)}
        spawn = multiprocessing.get_context("spawn")
        for what in FLOODS:
            begun = spawn.Event()
            with beside(spawn.Process(target=throw, args=(what, client.url, begun))):
                begun.wait()
                time.sleep(RISE_S)
                figures[what] = measure(client.url, slide, uploads)
    table = [["flood", "API at most, MB", "upload, s (median)", "slowest"]]
    table += [[what, *(f"{value:.4g}" for value in one.values())] for what, one in figures.items()]
    here = machine()
    caption = (
        f"Uploads of {len(slide) / 1e6:.0f} MB, {uploads} beside each flood, on the same cores. "
        f"{here['processor']}, {here['cores']} cores, load average before {os.getloadavg()[0]:.1f}."
    )
    write_results("floods", {"floods": figures, "machine": here}, table, caption=caption, folder=out)


def normal_slide() -> bytes:
    """Return a slide of noise."""
    pixels = np.random.default_rng(0).integers(0, 255, (SLIDE_PX, SLIDE_PX, 3), np.uint8)
    file = io.BytesIO()
    tifffile.imwrite(
        file, pixels, tile=(256, 256), photometric="rgb", resolution=(2e4, 2e4), resolutionunit="CENTIMETER"
    )
    return file.getvalue()


def measure(url: str, slide: bytes, uploads: int) -> dict[str, float]:
    """Upload and delete slides, each of other bytes; return the API's most memory, MB, and the times, s."""
    times = []
    with most_memory(url) as memory, httpx.Client(base_url=url, timeout=600) as http:
        for _ in range(uploads):
            begun = time.perf_counter()
            answer = http.put("/v1/slides?filename=normal.tif", content=slide + os.urandom(8))
            times.append(time.perf_counter() - begun)
            http.delete(answer.raise_for_status().headers["Location"]).raise_for_status()
    return {"memory_mb": max(memory), "median_s": statistics.median(times), "slowest_s": max(times)}


@contextlib.contextmanager
def most_memory(url: str) -> Iterator[list[int]]:
    """Yield a list to which the API's memory is added five times a second."""
    api = api_process(url)
    memory, over = [resident_mb(api)], threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            memory.append(resident_mb(api))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield memory
    finally:
        over.set()
        watcher.join()


def throw(what: str, url: str, begun: Event) -> None:
    """Say that the flood begins, and throw it until this process is ended."""
    begun.set()
    FLOODS[what](url)


def connect(url: str) -> socket.socket:
    """Return a connection to the service."""
    at = httpx.URL(url)
    return socket.create_connection((at.host, at.port or 80), timeout=600)


def pour(url: str, head: str, size: int) -> None:
    """Send a head and `size` bytes, as long as they are taken, again and again."""
    while True:
        with contextlib.suppress(OSError), connect(url) as connection:
            connection.sendall(head.encode())
            for _ in range(size // len(BLOCK)):
                connection.sendall(BLOCK)
            connection.recv(1)
        time.sleep(PAUSE_S)


def json_body(url: str) -> None:
    """Send a JSON body of 600 MB."""
    head = "POST /v1/slides HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    pour(url, f'{head}Content-Length: {BODY_BYTES}\r\n\r\n{{"uri": "', BODY_BYTES)


def header_line(url: str) -> None:
    """Send a header of 600 MB."""
    pour(url, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: ", BODY_BYTES)


def part_header(url: str) -> None:
    """Send a form whose part has a header of 400 MB."""
    head = "POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    part = '--b\r\nContent-Disposition: form-data; name="slide"; filename="'
    pour(url, f"{head}Content-Length: {PART_HEAD_BYTES}\r\n\r\n{part}", PART_HEAD_BYTES)


def crowd(url: str, begin: bytes) -> None:
    """Hold connections that begin alike and then send a byte a second; replace those that are closed."""
    held: list[socket.socket] = []
    while True:
        while len(held) < SLOW_CONNECTIONS:
            with contextlib.suppress(OSError):
                held.append(connect(url))
                held[-1].sendall(begin)
        open_still = []
        for connection in held:
            try:
                connection.sendall(b"x")
                open_still.append(connection)
            except OSError:
                connection.close()
        held = open_still
        time.sleep(1)


def slow_heads(url: str) -> None:
    """Hold 320 connections whose heads never end."""
    crowd(url, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")


def stalled_uploads(url: str) -> None:
    """Hold 320 uploads that stall after 1 MB."""
    crowd(url, PUT.format("stalled.tif", 10**9).encode() + bytes(STALLED_BYTES))


def shared_members(url: str) -> None:
    """Send zips of 3000 members that are the same 20 MB."""
    archive = overlapping_zip()
    senders = [threading.Thread(target=send_zips, args=(url, archive + bytes([i]))) for i in range(2)]
    for sender in senders:
        sender.start()


def send_zips(url: str, archive: bytes) -> None:
    """Upload an archive again and again."""
    with httpx.Client(base_url=url, timeout=600) as http:
        while True:
            http.put("/v1/slides?filename=shared.zip", content=archive)
            time.sleep(PAUSE_S)


def overlapping_zip() -> bytes:
    """Return a zip whose directory names one member again and again."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("0000", bytes(SHARED_BYTES))
    whole = file.getvalue()
    begin, end = whole.index(b"PK\x01\x02"), whole.rindex(b"PK\x05\x06")
    entries = whole[begin:end] * SHARERS
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, SHARERS, SHARERS, len(entries), begin, 1)
    return whole[:begin] + entries + tail


FLOODS: dict[str, Callable[[str], None]] = {
    "a JSON body of 600 MB": json_body,
    "a header of 600 MB": header_line,
    "a header of 400 MB in a form": part_header,
    f"{SLOW_CONNECTIONS} heads, a byte a second": slow_heads,
    f"{SLOW_CONNECTIONS} uploads that stall after 1 MB": stalled_uploads,
    f"two zips of {SHARERS} times the same 20 MB": shared_members,
}

if __name__ == "__main__":
    main()
