"""The page as a whole: safe, accessible, small, quiet."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from service.access.keys import KeyStore, Scope
from service.settings import ServiceSettings
from tests import ROOT

from ..service.conftest import running_api
from .drawn_job import DrawnJob, Service
from .viewer import Viewer

pytestmark = pytest.mark.slow

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"


def serious_findings(page: Page) -> list[str]:
    """What axe-core finds serious or critical: rule, and the elements."""
    if not AXE.is_file():
        pytest.skip("NO AXE: accessibility is not tested. Run npm ci")
    # As a classic script of the test, not of the page: its Content-Security-Policy allows no other.
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("() => axe.run()")["violations"]
    return [
        f"{one['id']}: {[node['html'][:120] for node in one['nodes']]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def test_an_empty_page_says_how_to_begin(viewer: Viewer) -> None:
    viewer.open()
    viewer.get("heading", "Nothing is open").wait_for()
    assert viewer.page.get_by_text("not for diagnosis").is_visible()


def test_the_page_is_accessible_in_its_states(viewer: Viewer, finished: DrawnJob, running: DrawnJob) -> None:
    viewer.open()
    viewer.page.wait_for_selector(".row")
    assert serious_findings(viewer.page) == []
    for job in (finished, running):
        viewer.open_job(job.id)
        assert serious_findings(viewer.page) == []
    viewer.page.keyboard.press("?")
    assert serious_findings(viewer.page) == []
    viewer.open(f"slide={finished.slide_id}")
    viewer.settle()
    assert serious_findings(viewer.page) == []
    viewer.page.goto(f"{viewer.url}/jobs/{finished.id}/report")
    viewer.page.wait_for_selector("#report:not([aria-busy])")
    assert serious_findings(viewer.page) == []


def test_the_page_without_tiles_is_small(browser: Browser, service: Service, finished: DrawnJob) -> None:
    page = browser.new_page()  # in a window of its own, with nothing kept
    viewer = Viewer(page, service.url)
    viewer.open_job(finished.id)
    sizes: dict[str, int] = page.evaluate(
        """() => Object.fromEntries(['navigation', 'resource']
            .flatMap((type) => performance.getEntriesByType(type))
            .map((entry) => [entry.name, entry.transferSize]))"""
    )
    page.close()
    own = {name: size for name, size in sizes.items() if "/tiles/" not in name and "/thumbnail" not in name}
    assert len(own) > 20
    assert 100_000 < sum(own.values()) < 500_000


def test_a_narrow_screen_shows_all_and_nothing_moves_while_it_loads(
    viewer: Viewer, finished: DrawnJob
) -> None:
    viewer.page.set_viewport_size({"width": 1024, "height": 768})
    viewer.page.add_init_script(
        """window.moved = 0;
        new PerformanceObserver((list) => list.getEntries().forEach(({ value }) => (moved += value)))
            .observe({ type: 'layout-shift', buffered: true });"""
    )
    viewer.open_job(finished.id)
    assert viewer.page.evaluate("document.documentElement.scrollWidth") == 1024
    for part in ("#work", "#stage", "#details", ".toolbar", ".overview", ".scale-bar", ".readout"):
        box = viewer.page.locator(part).bounding_box()
        assert box is not None, part
        assert box["x"] >= 0, part
        assert box["x"] + box["width"] <= 1024, part
        assert box["y"] + box["height"] <= 768, part
    assert viewer.page.evaluate("moved") < 0.05


def test_the_documentation_needs_no_other_host(viewer: Viewer) -> None:
    viewer.page.goto(f"{viewer.url}/docs")
    viewer.page.get_by_text("/v1/jobs/{job_id}/cancel").wait_for()


def test_without_its_library_the_page_says_so_and_lists_jobs(viewer: Viewer, finished: DrawnJob) -> None:
    viewer.page.route("**/openseadragon.min.js", lambda route: route.fulfill(status=404, body=""))
    viewer.open()
    assert viewer.page.get_by_text("OpenSeadragon) is missing").is_visible()
    viewer.page.locator(".row .name").first.wait_for()
    assert [error for error in viewer.errors if "404" not in error] == []
    viewer.errors.clear()


def test_the_report_of_a_job(viewer: Viewer, finished: DrawnJob) -> None:
    viewer.page.goto(f"{viewer.url}/jobs/{finished.id}/report")
    viewer.page.wait_for_selector("#report:not([aria-busy])")
    text = viewer.page.inner_text("#report")
    for words in (
        "square.tif",
        "not for diagnosis",
        "Phantom model",
        "tiff-resolution",
        "ab" * 32,
        finished.id,
    ):
        assert words in text
    shares = [
        float(cell.inner_text().split()[0]) for cell in viewer.page.locator("tbody td:nth-child(3)").all()
    ]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    colours = viewer.page.evaluate(
        """() => { const c = document.getElementById('picture');
            const all = c.getContext('2d');
            const at = (x, y) => all.getImageData(x * c.width, y * c.height, 1, 1).data.join();
            return [at(0.4, 0.4), at(0.8, 0.8)]; }"""
    )
    assert colours[0] != colours[1], "square and surroundings have other labels"


def test_a_report_of_no_job_says_so(viewer: Viewer) -> None:
    viewer.page.goto(f"{viewer.url}/jobs/none/report")
    viewer.page.get_by_text("There is no report").wait_for()
    viewer.errors.clear()  # the browser's word on the 404


def test_axe_is_of_the_lock() -> None:
    """The accessibility test is skipped only where npm has not run."""
    assert '"node_modules/axe-core"' in Path(ROOT / "package-lock.json").read_text(encoding="utf-8")


def test_a_service_that_wants_a_key_asks_for_it(page: Page, service: Service, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    _, key = KeyStore(data_dir).add("reading room", Scope.READ)
    settings = ServiceSettings(data_dir=data_dir, redis_url=service.queue_url, require_key=True)
    with running_api(settings) as http:
        viewer = Viewer(page, str(http.base_url).rstrip("/"))
        viewer.open()
        page.get_by_label("Key", exact=True).fill("wrong")
        viewer.get("button", "Log in").click()
        page.get_by_text("This key is not valid").wait_for()
        page.get_by_label("Key", exact=True).fill(key)
        viewer.get("button", "Log in").click()
        viewer.get("heading", "Nothing is open").wait_for()
        viewer.get("button", "Log out").click()
        page.get_by_label("Key", exact=True).wait_for()
        assert [error for error in viewer.errors if "401" not in error] == []
        assert viewer.foreign == []
