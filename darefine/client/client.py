"""Client of one service: send slides, run jobs, fetch results."""

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypedDict, Unpack
from urllib.parse import quote

import httpx

from workers.jobs import JobState, OutputName, Priority, result_stem
from wsi.atomic import write_atomically
from wsi.geometry import WindowSpan

from .answers import Job, JobPage, Preflight, PruneReport, Result, ServedModel, ServedModels, Slide, SlidePage
from .batches import Batches
from .connection import Connection
from .errors import (
    AnswerInvalidError,
    JobUnsuccessfulError,
    ServiceRefusedError,
    ServiceUnreachableError,
    WaitTimeoutError,
)
from .fetching import fetch
from .resumable import RESUMABLE_BYTES, send_resumable
from .sending import Sent, as_one_file, ignore, read_chunks, sha256_of
from .upload_memory import UploadMemory

V1 = "/v1"
PATIENCE_S = 120.0

PAGE = 200
"""Jobs that a listing asks for at a time."""


class JobOptions(TypedDict, total=False):
    """Options of a job; what is absent is the service's choice. `mpp` in um/px, `halo_px` in label px."""

    model: str
    mpp: float
    halo_px: int
    window: WindowSpan
    precision: Literal["fp32", "bf16", "fp16"]
    tissue: bool | Mapping[str, Any] | Sequence[Any]
    """Whether glass is left out, or a tissue mask of your own, as `regions`."""
    priority: Priority
    force: bool
    """Whether to compute even if a job of the same slide, weights and parameters has succeeded."""
    outputs: Sequence[OutputName]
    regions: Mapping[str, Any] | Sequence[Any]
    """GeoJSON, or rectangles with their unit, as JSON values: outside of them nothing is labelled."""


class Client:
    """Client of one service. Close it, or use it as a context; threads may share one.

    A service that has answered and then is away, such as for a restart, is waited for `patience_s` seconds
    while a job is submitted, followed or downloaded. Every method raises ServiceUnreachableError when nobody
    answers, ServiceRefusedError when the service refuses, and AnswerInvalidError when what answers is no
    darefine service; all are ClientErrors.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        headers: Mapping[str, str] | None = None,
        patience_s: float = PATIENCE_S,
        sleep: Callable[[float], object] = time.sleep,
        cache: Path | None = None,
    ) -> None:
        """Make a client; it connects at the first request.

        Args:
            url: of the service, without `/v1`.
            headers: sent with every request, such as what a proxy wants.
            patience_s: how long a service that was there before may be away.
            sleep: how to pause between requests; what it raises ends the waiting.
            cache: folder that remembers unfinished uploads; by default one in the user's cache.
        """
        self._memory = UploadMemory(cache)
        self._connection = Connection(url, headers, patience_s, sleep)
        self.batches = Batches(self._connection)
        """Many slides at once."""

    @property
    def url(self) -> str:
        """The service's address."""
        return self._connection.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    # The service

    def ready(self) -> bool:
        """Return whether the service would run a job now."""
        try:
            return self._connection.request("GET", "/readyz").is_success
        except (ServiceUnreachableError, ServiceRefusedError):
            return False

    def models(self) -> ServedModels:
        """Return the models that workers serve, and which is the default."""
        return self._connection.ask(ServedModels, "GET", f"{V1}/models")

    def model(self, name: str) -> ServedModel:
        """Return the card of one model, whole.

        Raises:
            ServiceRefusedError: when no worker serves it (404, `model-not-found`).
        """
        return self._connection.ask(ServedModel, "GET", f"{V1}/models/{quote(name, safe='')}")

    def prune(self, *, dry_run: bool = True, **rules: float) -> PruneReport:
        """Remove old results and slides, or say which would go.

        `rules` are `results_days`, `slides_days`, `max_results_gb`, `max_slides_gb`; the rest is kept.
        """
        return self._connection.ask(PruneReport, "POST", f"{V1}/prune", json={**rules, "dry_run": dry_run})

    def preflight(self, **options: Unpack[JobOptions]) -> Preflight:
        """Have the options of a job judged before a slide is sent; return what it would run with.

        Raises:
            ServiceRefusedError: when no job could run with them.
        """
        return self._connection.ask(Preflight, "POST", f"{V1}/jobs/preflight", json=options)

    # Slides

    def upload(self, slide: Path | str, *, hashed: Sent = ignore, sent: Sent = ignore) -> Slide:
        """Send a slide, unless the service has its bytes; return it as the service describes it.

        A file of at least RESUMABLE_BYTES bytes goes on where it was after a broken connection, and where
        another process was killed that sent it to the same service.

        Args:
            slide: a file, or a folder that is sent as one archive.
            hashed: told bytes done and in all while the sha256 is made that the service is asked for.
            sent: the same while the slide is sent.

        Raises:
            ServiceRefusedError: when the service does not take it.
            OSError: when the slide cannot be read.
        """
        with as_one_file(Path(slide)) as file:
            total = file.stat().st_size
            sha256 = sha256_of(file, hashed)
            known = self._refer(sha256, file.name)
            if known is None and total >= RESUMABLE_BYTES:
                path = send_resumable(self._connection, file, sha256, self._memory, sent)
                return self._connection.patiently(lambda: self._connection.ask(Slide, "GET", path))
            return known or self._connection.patiently(
                lambda: self._connection.ask(
                    Slide,
                    "PUT",
                    f"{V1}/slides",
                    params={"filename": file.name},
                    content=read_chunks(file, lambda done: sent(done, total)),
                    headers={"Content-Length": str(total), "Content-Type": "application/octet-stream"},
                )
            )

    def _refer(self, sha256: str, name: str) -> Slide | None:
        """Return the slide of bytes that the service has, under a name of its own; None if it lacks them."""
        try:
            return self._connection.ask(
                Slide, "POST", f"{V1}/slides", json={"sha256": sha256, "filename": name}
            )
        except ServiceRefusedError as error:
            # Version 0.1.0 takes no sha256.
            if error.status == 404 or error.kind == "request-invalid":
                return None
            raise

    def register(self, uri: str) -> Slide:
        """Have the service read a slide where it lies, without a copy; `uri` is a path on the service's side.

        Raises:
            ServiceRefusedError: when the service may not read there, or it is no slide.
        """
        return self._connection.ask(Slide, "POST", f"{V1}/slides", json={"uri": uri})

    def find_slide(self, sha256: str) -> Slide | None:
        """Return the newest slide that was uploaded with this sha256, if there is one."""
        page = self._connection.ask(SlidePage, "GET", f"{V1}/slides", params={"sha256": sha256})
        return page.slides[0] if page.slides else None

    def slides(self) -> tuple[Slide, ...]:
        """Return all slides, newest first."""
        return self._connection.ask(SlidePage, "GET", f"{V1}/slides").slides

    def slide(self, slide_id: str) -> Slide:
        """Return one slide."""
        return self._connection.ask(Slide, "GET", f"{V1}/slides/{quote(slide_id, safe='')}")

    def delete_slide(self, slide_id: str) -> None:
        """Remove a slide from the service; results stay, and so do the files of a registered slide.

        Raises:
            ServiceRefusedError: when there is none, or a job still reads it.
        """
        self._connection.request("DELETE", f"{V1}/slides/{quote(slide_id, safe='')}")

    # Jobs

    def submit(
        self, slide_id: str | None = None, *, uri: str | None = None, **options: Unpack[JobOptions]
    ) -> Job:
        """Queue a job on a slide that the service has, or on one that lies at `uri` on its disks.

        It is sent under an idempotency key: a lost answer makes no second job.

        Raises:
            ServiceRefusedError: when the service refuses slide or options.
        """
        slide = {"slide_id": slide_id} if uri is None else {"uri": uri}
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        body = {**slide, **options}
        return self._connection.patiently(
            lambda: self._connection.ask(Job, "POST", f"{V1}/jobs", json=body, headers=headers)
        )

    def jobs(self, state: JobState | str | None = None) -> Iterator[Job]:
        """Yield all jobs, or those in one state, newest first."""
        wanted = {"limit": str(PAGE), **({"state": str(state)} if state else {})}
        page = self._connection.ask(JobPage, "GET", f"{V1}/jobs", params=wanted)
        yield from page.jobs
        while page.next_cursor is not None:
            wanted["cursor"] = page.next_cursor
            page = self._connection.ask(JobPage, "GET", f"{V1}/jobs", params=wanted)
            yield from page.jobs

    def job(self, job_id: str) -> Job:
        """Return one job."""
        return self._connection.read(Job, self._get_job(job_id))

    def follow(self, job_id: str) -> Iterator[Job]:
        """Yield the job again and again until it is over, as often as the service's Retry-After allows."""
        while True:
            response = self._connection.patiently(lambda: self._get_job(job_id))
            job = self._connection.read(Job, response)
            yield job
            if job.state.is_final:
                return
            self._connection.sleep(self._connection.pause_of(response))

    def wait(
        self,
        job_id: str,
        *,
        timeout_s: float | None = None,
        progress: Callable[[Job], object] = lambda _: None,
    ) -> Job:
        """Wait until a job has succeeded and return it; `progress` is told each state on the way.

        Raises:
            JobUnsuccessfulError: when it fails or is cancelled.
            WaitTimeoutError: when it is not over after `timeout_s` seconds; it runs on.
        """
        started = time.monotonic()
        for job in self.follow(job_id):
            progress(job)
            if timeout_s is not None and not job.state.is_final and time.monotonic() - started >= timeout_s:
                raise WaitTimeoutError(job, timeout_s)
        if job.state is not JobState.SUCCEEDED:
            raise JobUnsuccessfulError(job)
        return job

    def cancel(self, job_id: str) -> Job:
        """Cancel a job: at once if it waits, within about a second if it runs.

        Raises:
            ServiceRefusedError: when it is over already (409, `job-final`).
        """
        return self._connection.ask(Job, "POST", f"{V1}/jobs/{quote(job_id, safe='')}/cancel")

    def delete_job(self, job_id: str) -> None:
        """Remove a job and its files; one that runs is stopped first."""
        self._connection.request("DELETE", f"{V1}/jobs/{quote(job_id, safe='')}")

    def result(self, job_id: str) -> Result:
        """Return the result document of a succeeded job.

        Raises:
            ServiceRefusedError: when there is none (409, `result-not-ready`).
        """
        return self._connection.patiently(
            lambda: self._connection.ask(Result, "GET", f"{V1}/jobs/{quote(job_id, safe='')}/result")
        )

    def download(
        self,
        job_id: str,
        name: str,
        target: Path | str,
        *,
        result: Result | None = None,
        told: Sent = ignore,
    ) -> None:
        """Download one result file, such as `overlay.tif`, to `target`, whole or not at all.

        A broken connection is gone on with, and the bytes are checked against the sha256 in the result.

        Raises:
            KeyError: when the result has no file of this name.
            DownloadDamagedError: when the bytes are not those of the result.
            OSError: when `target` cannot be written.
        """
        facts = (result or self.result(job_id)).files[name]
        path = f"{V1}/jobs/{quote(job_id, safe='')}/files/{quote(name, safe='')}"
        fetch(self._connection, path, Path(target), facts, told)

    def download_results(
        self, job_id: str, folder: Path | str, *, stem: str | None = None, told: Sent = ignore
    ) -> dict[str, Path]:
        """Download all result files and `result.json` into `folder`; return their paths by result file name.

        They are called `<slide>.<model>.overlay.tif` and so on, or `<stem>.overlay.tif` if a `stem` is given.
        Files that are there already, by their sha256, are not fetched again. `result.json` is written last.

        Raises:
            ServiceRefusedError: when there is no result.
            DownloadDamagedError: when bytes are not those of the result.
            OSError: when `folder` cannot be written.
        """
        job, result = self.job(job_id), self.result(job_id)
        target, stem = Path(folder), stem or result_stem(job.slide.name, job.model)
        target.mkdir(parents=True, exist_ok=True)
        names = map(plain_name, [*result.files, "result.json"])
        paths = {name: target / f"{stem}.{name}" for name in names}
        for name in result.files:
            self.download(job_id, name, paths[name], result=result, told=told)
        write_atomically(paths["result.json"], json.dumps(result.document(), indent=1).encode())
        return paths

    def _get_job(self, job_id: str) -> httpx.Response:
        return self._connection.request("GET", f"{V1}/jobs/{quote(job_id, safe='')}")


def plain_name(name: str) -> str:
    """Return `name` if it is that of a file, without any folder.

    Raises:
        AnswerInvalidError: when it would lead elsewhere.
    """
    if name in {"", ".", ".."} or set(name) & {"/", "\\", "\0"}:
        raise AnswerInvalidError(f"The service names a result file {name!r}, which is no plain file name.")
    return name
