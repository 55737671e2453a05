"""Start a service with a phantom slide, and a browser that looks at it."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from playwright.sync_api import Page, sync_playwright

from darefine.cli.demo import MODELS, PHANTOM_VERSION, running_service
from wsi.phantom import write_phantom

WINDOW = {"width": 1440, "height": 900}
BOTH, ALONE = MODELS
"""Names of the demo's models: one that sees slice and patch, one that sees the slice alone."""


def chromium() -> str | None:
    """Return the program of the system's Chromium, or what CHROMIUM names; None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = (shutil.which(name) for name in names)
    return os.environ.get("CHROMIUM") or next(filter(None, found), None)


@dataclass(frozen=True, slots=True)
class Stage:
    """A service with one slide, and a page in a browser."""

    url: str
    http: httpx.Client
    page: Page
    slide_id: str
    data_dir: Path
    """The service's data folder."""

    def submit(self, model: str) -> str:
        """Queue a job with `model`; return its id."""
        answer = self.http.post("/v1/jobs", json={"slide_id": self.slide_id, "model": model, "force": True})
        job_id: str = answer.raise_for_status().json()["id"]
        return job_id

    def open(self, place: str) -> None:
        """Open the viewer at a place, what follows the # of its address, and wait until all is seen."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.url}/#{place}")
        self.settle()

    def settle(self) -> None:
        """Wait until slide and labels are there."""
        self.page.wait_for_selector("#stage[aria-busy=false]")
        self.page.wait_for_timeout(300)

    def wait(self, job_id: str, patches: int | None = None) -> None:
        """Wait until a job has finished so many patches, or altogether."""
        while True:
            job = self.http.get(f"/v1/jobs/{job_id}").raise_for_status().json()
            if job["finished_at"] or (patches and job["progress"]["patches_done"] >= patches):
                return
            self.page.wait_for_timeout(100)


@contextlib.contextmanager
def stage(*, size_px: int, seed: int) -> Iterator[Stage]:
    """Run the demo's service on a phantom slide and a Chromium without a window; stop both whatever happens.

    Raises:
        FileNotFoundError: when no Chromium is found.
    """
    program = chromium()
    if program is None:
        raise FileNotFoundError("There is no Chromium here. Install one, or name it in CHROMIUM.")
    with (
        tempfile.TemporaryDirectory(prefix="darefine-") as folder,
        running_service(Path(folder, "data"), Path(folder, "service.log")) as client,
        httpx.Client(base_url=client.url, timeout=60) as http,
        sync_playwright() as playwright,
    ):
        files = write_phantom(
            Path(folder, f"phantom-{seed}.tif"), size_px=size_px, seed=seed, version=PHANTOM_VERSION
        )
        content = files.slide.read_bytes()
        stored = http.put("/v1/slides", params={"filename": files.slide.name}, content=content)
        slide_id = stored.raise_for_status().json()["id"]
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        context = browser.new_context(viewport=WINDOW, reduced_motion="reduce")  # type: ignore[arg-type]
        page = context.new_page()
        page.set_default_timeout(120_000)
        yield Stage(client.url, http, page, slide_id, Path(folder, "data"))
        browser.close()
