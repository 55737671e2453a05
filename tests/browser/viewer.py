"""The viewer in a browser, as tests use it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page, Request

SAFE = {1: (0x56, 0xB4, 0xE9), 2: (0x00, 0x9E, 0x73), 3: (0xF0, 0xE4, 0x42)}
"""Colours of the classes by default."""


SHOW_TOOLS = """visibility => {
    const tools = document.querySelectorAll('.toolbar, .overview, .scale-bar, .readout');
    for (const one of tools) one.style.visibility = visibility;
}"""

GO = """hash => new Promise((done) => {
    addEventListener('hashchange', done, { once: true });
    location.hash = hash;
})"""


class Viewer:
    """A tab with the viewer, and what went wrong in it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.errors: list[str] = []
        """Errors on the console, and exceptions."""
        self.foreign: list[str] = []
        """Requests to other hosts."""
        self.requests: list[str] = []
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._note)

    def _note(self, request: Request) -> None:
        self.requests.append(request.url)
        if not request.url.startswith((self.url, "blob:", "data:")):
            self.foreign.append(request.url)

    def open(self, place: str = "") -> None:
        """Open the page, with `place` behind the #."""
        self.page.goto(f"{self.url}/#{place}" if place else self.url)

    def open_job(self, job_id: str, **place: object) -> None:
        """Open a job and wait until all is seen."""
        parts = "".join(f"&{name}={value}" for name, value in place.items())
        self.open(f"job={job_id}{parts}")
        self.settle()

    def go(self, job_id: str, **place: object) -> None:
        """Go to another place without loading the page anew, as by the back button."""
        parts = "".join(f"&{name}={value}" for name, value in place.items())
        self.page.evaluate(GO, f"job={job_id}{parts}")
        self.settle()

    def settle(self) -> None:
        """Wait until slide and labels are there."""
        self.page.wait_for_selector("#stage[aria-busy=false]")
        self.page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def until(self, expression: str) -> None:
        """Wait until a JavaScript expression holds. (Playwright's own way is against the page's policy.)"""
        deadline = time.monotonic() + 30
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, expression
            self.page.wait_for_timeout(50)

    def get(self, role: str, name: str) -> Locator:
        """The element of a role with this accessible name."""
        return self.page.get_by_role(role, name=name, exact=True)  # type: ignore[arg-type]

    def pixels(self) -> NDArray[np.int16]:
        """What the stage shows, (height, width, 3)."""
        # Not by a style of the test: the page's Content-Security-Policy allows none.
        self.page.evaluate(SHOW_TOOLS, "hidden")
        shot = self.page.locator("#stage").screenshot()
        self.page.evaluate(SHOW_TOOLS, "")
        return np.asarray(Image.open(BytesIO(shot)).convert("RGB"), np.int16)

    def box(self, colour: tuple[int, int, int], tolerance: int = 30) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of what is of a colour on the stage."""
        found = np.abs(self.pixels() - np.array(colour)).max(axis=2) <= tolerance
        assert found.any(), f"nothing on the stage is {colour}"
        rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

    @contextmanager
    def no_requests(self) -> Iterator[None]:
        """Fail if anything is asked for meanwhile but the lists, read now and then, and the icon."""
        before = len(self.requests)
        yield
        lists = ("/v1/jobs?limit", "/v1/slides", "/v1/models", "/assets")
        asked = [url for url in self.requests[before:] if not url.removeprefix(self.url).startswith(lists)]
        assert not asked, asked
