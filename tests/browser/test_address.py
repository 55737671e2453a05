"""Deep links."""

from urllib.parse import parse_qs

import pytest

from .drawn_job import DrawnJob
from .viewer import Viewer

pytestmark = pytest.mark.slow


def test_a_link_brings_back_job_place_and_display(viewer: Viewer, finished: DrawnJob) -> None:
    viewer.open_job(finished.id, x=2100, y=1300, zoom=0.4, opacity=80, hide="1.3", outline=1, palette="card")
    assert viewer.page.locator("#opacity").input_value() == "80"
    assert viewer.page.locator("#palette").input_value() == "card"
    assert viewer.page.locator("#outline").is_checked()
    checks = [viewer.get("checkbox", f"Show {name}").is_checked() for name in ("one", "two", "three")]
    assert checks == [False, True, False]
    viewer.page.wait_for_timeout(400)
    first = viewer.pixels()
    link = viewer.page.url
    viewer.page.goto("about:blank")
    viewer.page.goto(link)
    viewer.settle()
    assert (viewer.pixels() == first).all()


def test_the_address_follows_what_is_done(viewer: Viewer, finished: DrawnJob) -> None:
    viewer.open_job(finished.id)
    viewer.page.locator("#opacity").fill("30")
    viewer.get("checkbox", "Show one").uncheck()
    viewer.page.keyboard.press("z")
    viewer.until("location.hash.includes('zoom=1&')")
    given = parse_qs(viewer.page.evaluate("location.hash.slice(1)"))
    assert given["job"] == [finished.id]
    assert given["opacity"] == ["30"]
    assert given["hide"] == ["1"]
    assert float(given["x"][0]) == pytest.approx(2560, abs=300)


@pytest.mark.parametrize("place", ["job=none", "slide=none", "job=&x=a&zoom=-1&hide=,,&opacity=900"])
def test_a_link_that_leads_nowhere_is_no_blank_page(viewer: Viewer, place: str) -> None:
    viewer.open(place)
    viewer.page.locator(".add").wait_for()
    if "none" in place:
        viewer.page.locator(".trouble").get_by_text("no").wait_for()
    viewer.errors = [error for error in viewer.errors if "404" not in error]


def test_the_back_button_leads_to_the_job_before(
    viewer: Viewer, finished: DrawnJob, running: DrawnJob
) -> None:
    viewer.open_job(finished.id, x=2100, y=1300, zoom=0.4)
    viewer.page.locator(f"[data-key='job-{running.id}']").click()
    viewer.page.locator(".badge.running").wait_for()
    viewer.until(f"location.hash.includes('{running.id}')")
    viewer.page.go_back()
    viewer.page.locator(".badge.succeeded").wait_for()
    viewer.settle()
    viewer.until(f"location.hash.includes('{finished.id}') && location.hash.includes('zoom=0.4')")
