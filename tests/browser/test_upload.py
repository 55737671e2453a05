"""From a file that is dropped to a job, and what is said when that fails."""

import base64
from pathlib import Path

import pytest

from .drawn_job import write_square_slide
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
