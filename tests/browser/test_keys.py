"""Everything without a mouse."""

import pytest

from .drawn_job import MAGENTA, DrawnJob
from .viewer import SAFE, Viewer

pytestmark = pytest.mark.slow


def test_a_job_is_found_opened_and_read_by_keys_alone(viewer: Viewer, finished: DrawnJob) -> None:
    viewer.open()
    viewer.page.locator(".row").first.wait_for()
    for _ in range(60):
        viewer.page.keyboard.press("Tab")
        focused = viewer.page.evaluate("document.activeElement.dataset.key ?? ''")
        assert viewer.page.evaluate("document.activeElement.matches(':focus-visible')")
        if focused == f"job-{finished.id}":
            break
    viewer.page.keyboard.press("Enter")
    viewer.page.wait_for_selector(".legend:not([hidden])")
    viewer.settle()
    for _ in range(8):
        viewer.page.keyboard.press("]")
    viewer.settle()
    box = viewer.box(SAFE[2])
    viewer.page.keyboard.press("2")
    viewer.settle()
    assert viewer.box(MAGENTA) == pytest.approx(box, abs=1)
    viewer.page.keyboard.press("Shift+2")
    viewer.settle()
    assert [viewer.get("checkbox", f"Show {name}").is_checked() for name in ("one", "two", "three")] == [
        False,
        True,
        False,
    ]
    viewer.page.keyboard.press("l")
    viewer.settle()
    assert viewer.box(MAGENTA) == pytest.approx(box, abs=1)


def test_moving_and_zooming_by_keys(viewer: Viewer, finished: DrawnJob) -> None:
    viewer.open_job(finished.id, opacity=100)
    left, top, right, bottom = viewer.box(SAFE[2])
    viewer.page.keyboard.press("ArrowRight")
    viewer.settle()
    assert viewer.box(SAFE[2])[2] < right
    viewer.page.keyboard.press("+")
    viewer.settle()
    zoomed = viewer.box(SAFE[2])
    assert zoomed[3] - zoomed[1] > bottom - top
    viewer.page.keyboard.press("0")
    viewer.settle()
    assert viewer.box(SAFE[2]) == pytest.approx((left, top, right, bottom), abs=1)


def test_the_help_lists_keys_and_closes(viewer: Viewer) -> None:
    viewer.open()
    viewer.page.locator(".add").wait_for()
    viewer.page.keyboard.press("?")
    help_ = viewer.page.get_by_role("dialog")
    assert "Outlines only" in help_.inner_text()
    viewer.page.keyboard.press("Escape")
    assert help_.is_hidden()


def test_keys_are_text_where_text_is_written(viewer: Viewer, slide_without_mpp: str) -> None:
    viewer.open(f"slide={slide_without_mpp}")
    viewer.settle()
    viewer.page.locator("#run-mpp").focus()
    viewer.page.keyboard.type("0.5")
    assert viewer.page.locator("#run-mpp").input_value() == "0.5"
