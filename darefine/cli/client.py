"""HTTP client of the service: send a slide, follow the job, download the files."""

import contextlib
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

CHUNK = 1 << 20
POLL_S = 0.5
PATIENCE_S = 120
"""Seconds a poller bears a service that does not answer, so that a restart of the API goes unnoticed."""


class ServiceRefusedError(Exception):
    """Answer of the service that is a problem document; its detail is the message."""


class Client:
    """Client of one service."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(base_url=url, timeout=httpx.Timeout(30, read=300, write=300))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ready(self) -> bool:
        """Return whether the service would run a job now."""
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def upload(self, slide: Path, progress: Callable[[int, int], None]) -> dict[str, Any]:
        """Send a slide file or folder and return the slide as the service describes it.

        Args:
            slide: a file, or a folder that is sent as one archive.
            progress: told bytes done and bytes in all.

        Raises:
            ServiceRefusedError: when the service does not take it.
        """
        with as_one_file(slide) as file:
            total = file.stat().st_size
            response = self._http.put(
                "/v1/slides",
                params={"filename": file.name},
                content=read_chunks(file, lambda done: progress(done, total)),
                headers={"Content-Length": str(total), "Content-Type": "application/octet-stream"},
            )
        return checked(response)

    def submit(self, slide_id: str, options: dict[str, Any]) -> dict[str, Any]:
        """Queue a job on an uploaded slide and return it.

        Raises:
            ServiceRefusedError: when the service refuses slide or options.
        """
        return checked(self._http.post("/v1/jobs", json={"slide_id": slide_id, **options}))

    def follow(self, job_id: str) -> Iterator[dict[str, Any]]:
        """Yield the job, polled every POLL_S, until it is over.

        Raises:
            ServiceRefusedError: when the service refuses, or has not answered for PATIENCE_S.
        """
        answered = time.monotonic()
        while True:
            job = self._poll(job_id)
            if job is not None:
                answered = time.monotonic()
                yield job
                if job["finished_at"]:
                    return
            elif time.monotonic() - answered > PATIENCE_S:
                raise ServiceRefusedError(
                    f"The service has not answered for {PATIENCE_S} s; the job is {job_id}."
                )
            time.sleep(POLL_S)

    def _poll(self, job_id: str) -> dict[str, Any] | None:
        """Return the job, or None while the service is away."""
        try:
            response = self._http.get(f"/v1/jobs/{job_id}")
        except httpx.TransportError:
            return None
        return checked(response) if response.status_code < 500 else None

    def cancel(self, job_id: str) -> None:
        """Cancel a job; one that is over already stays as it is."""
        self._http.post(f"/v1/jobs/{job_id}/cancel")

    def result(self, job_id: str) -> dict[str, Any]:
        """Return the result document of a succeeded job.

        Raises:
            ServiceRefusedError: when there is none.
        """
        return checked(self._http.get(f"/v1/jobs/{job_id}/result"))

    def download(self, job_id: str, name: str, target: Path) -> None:
        """Download one result file to `target`, whole or not at all.

        Raises:
            ServiceRefusedError: when there is none.
        """
        part = target.with_name(target.name + ".part")
        with self._http.stream("GET", f"/v1/jobs/{job_id}/{name}") as response:
            if response.is_error:
                response.read()
                checked(response)
            with part.open("wb") as file:
                for chunk in response.iter_bytes(CHUNK):
                    file.write(chunk)
        part.replace(target)


def checked(response: httpx.Response) -> dict[str, Any]:
    """Return the JSON of a good answer.

    Raises:
        ServiceRefusedError: for any other answer, with the problem's detail.
    """
    if response.is_error:
        try:
            detail = response.json()["detail"]
        except (ValueError, KeyError):
            detail = response.text[:500]
        raise ServiceRefusedError(f"{response.status_code} {response.reason_phrase}: {detail}")
    body: dict[str, Any] = response.json()
    return body


def read_chunks(file: Path, sent: Callable[[int], None]) -> Iterator[bytes]:
    """Yield the bytes of `file` in chunks; tell `sent` how many were handed over."""
    done = 0
    with file.open("rb") as source:
        while chunk := source.read(CHUNK):
            yield chunk
            done += len(chunk)
            sent(done)


@contextlib.contextmanager
def as_one_file(slide: Path) -> Iterator[Path]:
    """Yield one file to send for a slide: itself, or a temporary zip of a folder slide.

    A folder slide is DICOM, or a MIRAX file with its data folder. The zip is stored, not compressed.
    """
    data_folder = slide.with_suffix("")
    if slide.is_file() and not (slide.suffix.lower() == ".mrxs" and data_folder.is_dir()):
        yield slide
        return
    root = slide if slide.is_dir() else slide.parent
    members = [slide] if slide.is_file() else []
    members += sorted(p for p in (slide if slide.is_dir() else data_folder).rglob("*") if p.is_file())
    with tempfile.TemporaryDirectory(prefix="darefine-") as folder:
        archive = Path(folder) / f"{slide.resolve().name}.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED, strict_timestamps=False) as zipped:
            for member in members:
                zipped.write(member, member.relative_to(root))
        yield archive
