"""From a file that is dropped to a job, and what is said when that fails."""

import base64
import re
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import tifffile
from playwright.sync_api import Page

from ..service.conftest import api_process
from .drawn_job import Service, write_square_slide
from .viewer import Viewer

pytestmark = pytest.mark.slow

DROP = """([name, content]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], name));
    const how = { dataTransfer: data, bubbles: true, cancelable: true };
    for (const type of ['dragenter', 'dragover', 'drop'])
        document.body.dispatchEvent(new DragEvent(type, how));
}"""


def drop(viewer: Viewer, path: Path) -> None:
    """Drop a file on the page, once it is built."""
    viewer.page.locator("#choose-slides").wait_for()
    viewer.page.evaluate(DROP, [path.name, base64.b64encode(path.read_bytes()).decode()])


def test_a_dropped_slide_is_shown_and_run(viewer: Viewer, tmp_path: Path) -> None:
    viewer.open()
    drop(viewer, write_square_slide(tmp_path / "dropped.tif", 0.467, seed=91))
    viewer.page.locator(".upload.done").wait_for()
    viewer.settle()
    assert viewer.page.locator("#place").inner_text() == "dropped.tif"
    assert viewer.page.locator("#run-mpp").is_hidden(), "the slide says its pixel size"
    viewer.page.locator("#run-model").select_option("other")
    viewer.get("button", "Run").click()
    viewer.page.locator(".badge.queued").wait_for()
    assert viewer.page.locator(".job-head h2").inner_text() == "other"


def test_a_file_that_is_no_slide_is_refused_in_words(viewer: Viewer, tmp_path: Path) -> None:
    junk = tmp_path / "junk.svs"
    junk.write_bytes(b"not a slide" * 100)
    viewer.open()
    drop(viewer, junk)
    failed = viewer.page.locator(".upload.failed")
    failed.wait_for()
    assert "junk.svs" in failed.inner_text()
    assert len(failed.locator(".facts").inner_text()) > 20
    assert failed.get_by_role("button", name="Send again").is_visible()
    assert all("422" in error for error in viewer.errors)
    viewer.errors.clear()


def test_several_slides_go_one_after_the_other_and_run_together(viewer: Viewer, tmp_path: Path) -> None:
    viewer.open()
    paths = [
        write_square_slide(tmp_path / f"many-{index}.tif", 0.467, seed=100 + index) for index in range(2)
    ]
    viewer.page.locator("input[type=file]").set_input_files(paths)
    viewer.page.locator(".upload.done").nth(1).wait_for()
    for path in paths:
        viewer.get("checkbox", f"Choose {path.name} for a run").check()
    viewer.get("button", "Run on 2 slides").click()
    viewer.page.locator(".badge.queued").wait_for()
    viewer.get("tab", "Jobs").click()
    names = viewer.page.locator(".row.job .name").all_inner_texts()
    assert {path.name for path in paths} <= set(names)


KB = 1000
LARGE_BYTES = 40_000 * KB


@pytest.fixture
def large_slide(tmp_path: Path) -> Path:
    """A slide of over LARGE_BYTES, so that it goes in a way that can be gone on with."""
    pixels = np.random.default_rng(8).integers(0, 255, (3840, 3840, 3), np.uint8)
    path = tmp_path / "large.tif"
    tifffile.imwrite(
        path,
        pixels,
        tile=(256, 256),
        photometric="rgb",
        resolution=(20000, 20000),
        resolutionunit="CENTIMETER",
    )
    assert path.stat().st_size > LARGE_BYTES
    return path


def throttle(viewer: Viewer, bytes_per_second: int) -> None:
    """Let the page send no faster; -1 for as fast as it goes."""
    network = viewer.page.context.new_cdp_session(viewer.page)
    network.send("Network.enable")
    speed = {"uploadThroughput": bytes_per_second, "downloadThroughput": -1, "latency": 0}
    network.send("Network.emulateNetworkConditions", {"offline": False, **speed})


def sent(viewer: Viewer) -> int:
    """Bytes that the page says it has sent."""
    return int(viewer.page.locator(".upload progress").get_attribute("value") or 0)


def wait_until_sent(viewer: Viewer, bytes_: int) -> None:
    """Wait until the page says that it has sent so much."""
    deadline = time.monotonic() + 60
    while sent(viewer) < bytes_:
        assert time.monotonic() < deadline
        viewer.page.wait_for_timeout(20)


def test_an_upload_goes_on_when_the_service_is_killed_and_started_again(
    page: Page, service: Service, large_slide: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    with ExitStack() as services:
        api, http = services.enter_context(api_process(data, service.queue_url))
        viewer = Viewer(page, str(http.base_url).rstrip("/"))
        viewer.open()
        throttle(viewer, 12_000 * KB)
        page.locator("input[type=file]").set_input_files(large_slide)
        wait_until_sent(viewer, 20_000 * KB)
        facts = page.locator(".upload .facts")
        assert re.fullmatch(r"[\d.]+ MB of 44.2 MB · .+ MB/s · 0:0\d left", facts.inner_text())
        api.kill()
        api.wait()
        page.get_by_text("the service is away, waiting for it").wait_for()
        reached = sent(viewer)
        services.enter_context(api_process(data, service.queue_url, http.base_url.port or 0))
        with page.expect_request(lambda request: request.method == "PATCH") as going_on:
            pass
        offset = int(going_on.value.headers["upload-offset"])
        assert 8_000 * KB < offset <= reached, "what was there is not sent again"
        throttle(viewer, -1)
        page.locator(".upload.done").wait_for()
        (file,) = (data / "slides").glob("*/content/large.tif")
        assert file.read_bytes() == large_slide.read_bytes()
        page.goto("about:blank")
    assert all("Failed to load resource" in error for error in viewer.errors)


def test_a_large_upload_goes_on_when_the_page_is_loaded_anew(viewer: Viewer, large_slide: Path) -> None:
    viewer.open()
    throttle(viewer, 12_000 * KB)
    choose = viewer.page.locator("input[type=file]")
    choose.set_input_files(large_slide)
    wait_until_sent(viewer, 15_000 * KB)
    viewer.page.reload()
    throttle(viewer, -1)
    with viewer.page.expect_request(lambda request: request.method == "PATCH") as going_on:
        choose.set_input_files(large_slide)
    assert int(going_on.value.headers["upload-offset"]) > 4_000 * KB
    viewer.page.locator(".upload.done").wait_for()
    viewer.settle()
    assert viewer.page.evaluate("sessionStorage.length") == 0


def test_an_upload_that_is_stopped_leaves_nothing_on_the_service(
    viewer: Viewer, service: Service, large_slide: Path
) -> None:
    viewer.open()
    throttle(viewer, 12_000 * KB)
    viewer.page.locator("input[type=file]").set_input_files(large_slide)
    wait_until_sent(viewer, 8_000 * KB)
    with viewer.page.expect_response(lambda answer: answer.request.method == "DELETE") as dropped:
        viewer.get("button", "Stop sending large.tif").click()
    assert dropped.value.status == 204
    assert viewer.page.locator(".upload").count() == 0
    assert not list((service.data_dir / "slides" / ".uploads").glob("*/part"))


def test_a_slide_that_hides_its_pixel_size_asks_for_it(viewer: Viewer, slide_without_mpp: str) -> None:
    viewer.open(f"slide={slide_without_mpp}")
    viewer.settle()
    field = viewer.page.locator("#run-mpp")
    field.wait_for()
    viewer.get("button", "Run").click()
    assert viewer.page.locator(".badge:visible").count() == 0, "the form wants it"
    field.fill("0.5")
    viewer.get("button", "Run").click()
    viewer.page.locator(".badge.queued").wait_for()
