"""Two results on one slide."""

import numpy as np
import pytest

from .drawn_job import MAGENTA, SQUARE, DrawnJob, Service
from .viewer import SAFE, Viewer

pytestmark = pytest.mark.slow

DIFFERENT = (0x00, 0xA6, 0xC7)


@pytest.fixture(scope="module")
def second(service: Service, square_slide: str) -> DrawnJob:
    """A result that has class three where the other has two."""
    job = DrawnJob(service, square_slide, model="other")
    job.labels[job.labels == 2] = 3
    job.start()
    job.finish()
    return job


def test_swipe_shows_one_result_on_each_side(viewer: Viewer, finished: DrawnJob, second: DrawnJob) -> None:
    centre = {"x": SQUARE.x + SQUARE.width // 2, "y": SQUARE.y + SQUARE.height // 2}
    viewer.open_job(finished.id, opacity=100, **centre, zoom=0.2, **{"with": second.id, "mode": "swipe"})
    viewer.page.locator(".divider").wait_for()
    viewer.settle()
    middle = viewer.pixels().shape[1] // 2
    left = viewer.box(SAFE[2])
    right = viewer.box(SAFE[3])
    assert abs(left[2] - middle) <= 4, "one up to the divider"
    assert abs(right[0] - middle) <= 4, "the other from there"
    with viewer.no_requests():
        viewer.get("slider", "Where one result ends and the other begins").focus()
        for _ in range(5):
            viewer.page.keyboard.press("ArrowRight")
        viewer.settle()
        assert viewer.box(SAFE[2])[2] > left[2] + 40


def test_the_map_of_differences(viewer: Viewer, finished: DrawnJob, second: DrawnJob) -> None:
    viewer.open_job(finished.id, opacity=100)
    square = viewer.box(SAFE[2])
    viewer.page.locator("#compare-with").select_option(second.id)
    viewer.page.locator(".divider").wait_for()
    viewer.page.locator(".ways label").get_by_text("Differences").click()
    viewer.settle()
    pixels = viewer.pixels()
    differs = np.abs(pixels - np.array(DIFFERENT)).max(axis=2) <= 20
    left, top, right, bottom = square
    assert differs[top + 3 : bottom - 3, left + 3 : right - 3].all(), "the square"
    assert not differs[top + 3 : bottom - 3, right + 4 :].any(), "nothing beside it"
    share = 100 * (finished.labels == second.labels).mean()
    said = viewer.page.locator(".agreement strong").inner_text()
    assert float(said.removesuffix(" %")) == pytest.approx(share, abs=0.3)


def test_side_by_side_goes_together(viewer: Viewer, finished: DrawnJob, second: DrawnJob) -> None:
    viewer.open_job(finished.id, opacity=100, **{"with": second.id, "mode": "side"})
    viewer.page.locator(".side-by-side .second .label-layer").wait_for()
    viewer.settle()
    for key in ("", "ArrowDown", "+"):
        if key:
            viewer.page.keyboard.press(key)
        viewer.settle()
        half = viewer.pixels().shape[1] // 2
        one, other = viewer.box(SAFE[2]), viewer.box(SAFE[3])
        assert one[2] <= half <= other[0]
        shifted = (one[0] + half, one[1], one[2] + half, one[3])
        assert other == pytest.approx(shifted, abs=3), key


def test_comparing_by_keys_and_back(viewer: Viewer, finished: DrawnJob, second: DrawnJob) -> None:
    viewer.open_job(finished.id)
    for shown in (".divider", ".side-by-side", ".agreement.coloured"):
        viewer.page.keyboard.press("c")
        viewer.page.locator(shown).first.wait_for()
    viewer.page.keyboard.press("c")
    viewer.until("document.getElementById('compare-with').value === ''")
    viewer.until("!location.hash.includes('with=')")


def test_a_distance_is_measured_by_dragging_and_by_keys(viewer: Viewer, finished: DrawnJob) -> None:
    viewer.open_job(finished.id, labels=0)
    left, top, right, _ = viewer.box(MAGENTA)
    stage = viewer.page.locator("#stage").bounding_box()
    assert stage is not None
    viewer.page.keyboard.press("m")
    viewer.page.mouse.move(stage["x"] + left, stage["y"] + top)
    viewer.page.mouse.down()
    viewer.page.mouse.move(stage["x"] + right, stage["y"] + top, steps=3)
    viewer.page.mouse.up()
    length = viewer.page.locator(".measure .length")
    um = SQUARE.width * 0.467
    assert float(length.inner_text().removesuffix(" µm")) == pytest.approx(um, abs=12)
    viewer.page.keyboard.press("Enter")
    viewer.page.keyboard.press("ArrowRight")
    viewer.page.keyboard.press("Enter")
    viewer.settle()
    assert length.inner_text().endswith(("µm", "mm"))
    viewer.page.keyboard.press("Escape")
    assert length.is_hidden()


def test_the_largest_region_of_a_class_is_shown(viewer: Viewer, finished: DrawnJob) -> None:
    viewer.open_job(finished.id, opacity=100, x=4600, y=2800, zoom=1)
    viewer.get("button", "two").click()
    first = viewer.page.locator(".regions button").first
    first.wait_for()
    assert first.inner_text() == f"{(SQUARE.width * 0.467 / 1000) ** 2:.2f} mm²"
    viewer.page.keyboard.press("n")
    viewer.settle()
    left, top, right, bottom = viewer.box(SAFE[2])
    height, width = viewer.pixels().shape[:2]
    assert (left + right) / 2 == pytest.approx(width / 2, abs=6)
    assert (top + bottom) / 2 == pytest.approx(height / 2, abs=6)
    assert max((right - left) / width, (bottom - top) / height) > 0.4
