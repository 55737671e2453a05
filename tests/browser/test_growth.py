"""The overlay of a job that runs."""

import numpy as np
import pytest
from numpy.typing import NDArray

from .conftest import Service
from .drawn_job import HEIGHT, WIDTH, DrawnJob
from .viewer import Viewer

pytestmark = pytest.mark.slow

TILE_REQUESTS = """performance.getEntriesByType('resource')
    .filter(({ name }) => name.includes('/tiles/') && name.includes('/jobs/')).length"""


def patch_boxes(viewer: Viewer, job: DrawnJob, shape: tuple[int, ...]) -> list[NDArray[np.bool_]]:
    """A mask of the stage for each patch, without the pixels at its border."""
    frame = viewer.page.evaluate(
        """() => { const given = new URLSearchParams(location.hash.slice(1));
            return ['x', 'y', 'zoom'].map((name) => Number(given.get(name))); }"""
    )
    x, y, zoom = frame
    side = job.grid.patch_px * job.grid.downsample * zoom
    left, top = shape[1] / 2 - x * zoom, shape[0] / 2 - y * zoom
    masks = []
    for index in range(job.grid.patch_columns * job.grid.patch_rows):
        row, column = divmod(index, job.grid.patch_columns)
        mask = np.zeros(shape[:2], bool)
        x0, y0 = left + column * side, top + row * side
        right, bottom = min(x0 + side, left + WIDTH * zoom), min(y0 + side, top + HEIGHT * zoom)
        mask[round(y0) + 3 : round(bottom) - 3, round(x0) + 3 : round(right) - 3] = True
        masks.append(mask)
    return masks


def test_the_overlay_grows_patch_by_patch(viewer: Viewer, service: Service, square_slide: str) -> None:
    job = DrawnJob(service, square_slide)
    job.start()
    job.finish_patch(0)
    viewer.open_job(job.id, x=2560, y=1536, zoom=0.1)
    viewer.page.wait_for_selector(".legend:not([hidden])")
    viewer.settle()
    shown = viewer.pixels()
    masks = patch_boxes(viewer, job, shown.shape)
    for index in (4, 1):
        before = viewer.page.evaluate(TILE_REQUESTS)
        job.finish_patch(index)
        viewer.until(f"{TILE_REQUESTS} > {before}")
        viewer.settle()
        now = viewer.pixels()
        changed = np.abs(now - shown).max(axis=2) > 8
        assert changed[masks[index]].mean() > 0.95, "all of the new patch"
        for other, mask in enumerate(masks):
            if other != index:
                assert not changed[mask].any(), f"nothing of patch {other}"
        shown = now
    job.finish()
    viewer.page.locator(".badge.succeeded").wait_for()
    viewer.settle()
    final = viewer.pixels()
    for index in (0, 1, 4):
        assert np.abs(final - shown).max(axis=2)[masks[index]].mean() < 1, "what was shown stays"
    assert "%" in viewer.page.locator(".classes").inner_text()


def test_a_running_job_is_cancelled_and_keeps_what_it_has(
    viewer: Viewer, service: Service, square_slide: str
) -> None:
    job = DrawnJob(service, square_slide)
    job.start()
    job.finish_patch(0)
    viewer.open_job(job.id)
    viewer.page.wait_for_selector(".legend:not([hidden])")
    viewer.get("button", "Cancel the job").click()
    job.confirm_cancel()
    viewer.page.locator(".badge.cancelled").wait_for()
    assert viewer.get("button", "Run again").is_visible()
    viewer.page.locator(".row .state.cancelled").first.wait_for()


def test_a_job_that_waits_can_be_cancelled(viewer: Viewer, service: Service, square_slide: str) -> None:
    job = DrawnJob(service, square_slide)
    viewer.open_job(job.id)
    assert viewer.page.get_by_text("Waiting for a worker").is_visible()
    viewer.get("button", "Cancel the job").click()
    viewer.page.locator(".badge.cancelled").wait_for()


def test_why_a_job_failed_is_said_in_words(viewer: Viewer, service: Service, square_slide: str) -> None:
    job = DrawnJob(service, square_slide)
    job.start()
    viewer.open_job(job.id)
    words = "The slide cannot be read at (3, 4)."
    job.fail(words)
    assert words in viewer.page.locator(".job-head .problem").inner_text()
    viewer.page.locator(".row .why").get_by_text(words).first.wait_for()
