"""A real Chromium on a real API over a real Valkey; tests take the part of the worker, patch by patch."""

import json
import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from service.assets import VIEWER
from service.settings import ServiceSettings
from workers.queue.connection import connect
from workers.queue.lease import JobLease
from workers.queue.registry import WorkerRegistry
from workers.supervisor.valkey import EmbeddedValkey

from ..service.conftest import running_api
from .drawn_job import CARD, OTHER, DrawnJob, Service, upload, write_square_slide
from .viewer import Viewer

PATIENCE_MS = 30_000
"""For machines that are busy otherwise."""


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The API with two models served."""
    if not (VIEWER / "vendor" / "openseadragon").is_dir():
        pytest.skip("NO VIEWER LIBRARIES: install the package where npm can be reached")
    root = tmp_path_factory.mktemp("browser")
    valkey = EmbeddedValkey(root / "queue")
    valkey.start()
    settings = ServiceSettings(data_dir=root / "data", redis_url=valkey.url)
    settings.data_dir.mkdir()
    with connect(valkey.url) as redis:
        WorkerRegistry(redis).publish_models("squares", (json.dumps(CARD), json.dumps(OTHER)))
        with running_api(settings) as http:
            lease = JobLease(redis, settings.data_dir.resolve() / "jobs")
            yield Service(http, lease, settings.data_dir, valkey.url)
    valkey.stop()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The system's Chromium. CHROMIUM names another program."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("NO CHROMIUM: the browser page is not tested. Install it, or set CHROMIUM=/path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A window of a laptop's size, without animations; its tabs share a cache, as a reader's do."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A fresh tab."""
    page = context.new_page()
    yield page
    page.close()


@pytest.fixture
def viewer(page: Page, service: Service) -> Iterator[Viewer]:
    """The page under test. At the end nothing may have gone wrong in it that the test does not know of."""
    viewer = Viewer(page, service.url)
    yield viewer
    assert viewer.errors == []
    assert viewer.foreign == []


@pytest.fixture(scope="package")
def square_slide(service: Service, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Id of a slide with a square, 0.467 um/px."""
    return upload(service, write_square_slide(tmp_path_factory.mktemp("square") / "square.tif", 0.467))


@pytest.fixture(scope="package")
def slide_without_mpp(service: Service, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Id of a slide that does not say its pixel size."""
    return upload(service, write_square_slide(tmp_path_factory.mktemp("bare") / "bare.tif", None))


@pytest.fixture(scope="package")
def finished(service: Service, square_slide: str) -> DrawnJob:
    """A job that has succeeded."""
    job = DrawnJob(service, square_slide)
    job.start()
    job.finish()
    return job


@pytest.fixture(scope="package")
def running(service: Service, square_slide: str) -> DrawnJob:
    """A job that runs and never ends, with two patches."""
    job = DrawnJob(service, square_slide)
    job.start()
    job.finish_patch(0)
    job.finish_patch(1)
    return job
