"""A finished result on its slide: alignment, opacity, classes, outlines, what is under the pointer."""

import numpy as np
import pytest

from .conftest import Service
from .drawn_job import MAGENTA, SQUARE, DrawnJob, upload, write_square_slide
from .viewer import SAFE, Viewer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[0.934, 0.467, 0.2335], ids=["n=1", "n=2", "n=4"])
def scaled(
    request: pytest.FixtureRequest, service: Service, tmp_path_factory: pytest.TempPathFactory
) -> DrawnJob:
    """A finished job on a slide whose label px are 1, 2 or 4 level-0 px."""
    mpp: float = request.param
    path = write_square_slide(tmp_path_factory.mktemp("scaled") / f"square-{mpp}.tif", mpp)
    job = DrawnJob(service, upload(service, path), mpp)
    job.start()
    job.finish()
    return job


def test_a_square_lies_on_the_same_pixels_in_slide_and_labels(viewer: Viewer, scaled: DrawnJob) -> None:
    centre = {"x": SQUARE.x + SQUARE.width // 2, "y": SQUARE.y + SQUARE.height // 2}
    viewer.open_job(scaled.id, labels=0)
    for zoom in (0.12, 0.31, 0.55):
        viewer.go(scaled.id, **centre, zoom=zoom, labels=0)
        slide = viewer.box(MAGENTA, tolerance=100)  # half way to the pink around it
        viewer.page.keyboard.press("l")
        viewer.page.locator("#opacity").fill("100")
        viewer.settle()
        labels = viewer.box(SAFE[2], tolerance=58)
        assert np.abs(np.subtract(slide, labels)).max() <= 1, (zoom, slide, labels)
        assert slide[2] - slide[0] == pytest.approx(SQUARE.width * zoom, abs=2)


def test_opacity_changes_pixels_without_a_request(viewer: Viewer, finished: DrawnJob) -> None:
    viewer.open_job(finished.id, opacity=100)
    full = viewer.pixels()
    with viewer.no_requests():
        viewer.page.locator("#opacity").fill("40")
        viewer.settle()
    at = (full.shape[0] // 2, full.shape[1] // 3)
    expected = 0.4 * np.array(SAFE[2]) + 0.6 * np.array(MAGENTA)
    box = viewer_box_of_square(viewer)
    at = ((box[1] + box[3]) // 2, (box[0] + box[2]) // 2)
    assert np.abs(full[at] - np.array(SAFE[2])).max() <= 3
    assert np.abs(viewer.pixels()[at] - expected).max() <= 4


def viewer_box_of_square(viewer: Viewer) -> tuple[int, int, int, int]:
    """Where the square is on the stage."""
    mixed = tuple((0.4 * np.array(SAFE[2]) + 0.6 * np.array(MAGENTA)).astype(int).tolist())
    return viewer.box((mixed[0], mixed[1], mixed[2]), tolerance=8)


def test_a_class_is_switched_off_and_on_without_a_request(viewer: Viewer, finished: DrawnJob) -> None:
    viewer.open_job(finished.id, opacity=100)
    before = viewer.pixels()
    with viewer.no_requests():
        viewer.get("checkbox", "Show two").uncheck()
        viewer.settle()
        off = viewer.box(MAGENTA)
        viewer.get("checkbox", "Show two").check()
        viewer.settle()
        assert viewer.box(SAFE[2]) == pytest.approx(off, abs=1)
    assert np.array_equal(viewer.pixels(), before)


def test_another_palette_and_a_colour_of_ones_own(viewer: Viewer, finished: DrawnJob) -> None:
    viewer.open_job(finished.id, opacity=100)
    where = viewer.box(SAFE[2])
    with viewer.no_requests():
        viewer.page.locator("#palette").select_option("card")
        viewer.settle()
        assert viewer.box((255, 0, 0)) == pytest.approx(where, abs=1)
        viewer.page.get_by_label("Colour of two").fill("#00ffff")
        viewer.settle()
        assert viewer.box((0, 255, 255)) == pytest.approx(where, abs=1)


def test_outlines_leave_the_inside_free(viewer: Viewer, finished: DrawnJob) -> None:
    viewer.open_job(finished.id, opacity=100)
    left, top, right, bottom = viewer.box(SAFE[2])
    with viewer.no_requests():
        viewer.page.get_by_label("Outlines only").first.click()
        viewer.settle()
    pixels = viewer.pixels()
    inside = pixels[top + 6 : bottom - 6, left + 6 : right - 6].reshape(-1, 3)
    assert np.abs(inside - np.array(MAGENTA)).max() <= 12, "nothing but the slide"
    edge = viewer.box(SAFE[2])
    assert np.abs(np.subtract(edge, (left, top, right, bottom))).max() <= 2


def test_the_class_under_the_pointer_and_its_place(viewer: Viewer, finished: DrawnJob) -> None:
    viewer.open_job(finished.id, opacity=100)
    left, top, right, bottom = viewer.box(SAFE[2])
    stage = viewer.page.locator("#stage").bounding_box()
    assert stage is not None
    viewer.page.mouse.move(stage["x"] + (left + right) / 2, stage["y"] + (top + bottom) / 2)
    readout = viewer.page.locator(".readout")
    assert "two" in readout.inner_text()
    numbers = [int(part) for part in readout.inner_text().replace("\u2009", "").split() if part.isdigit()]
    middle = [(SQUARE.x + SQUARE.width / 2) * 0.467, (SQUARE.y + SQUARE.height / 2) * 0.467]
    assert numbers[:2] == pytest.approx(middle, abs=8)
    viewer.page.mouse.move(stage["x"] + right + 30, stage["y"] + (top + bottom) / 2)
    assert "one" in readout.inner_text()


def test_the_legend_says_areas_and_shares(viewer: Viewer, finished: DrawnJob) -> None:
    viewer.open_job(finished.id)
    row = viewer.page.locator(".classes tr[data-value='2']")
    row.get_by_text("%").wait_for()
    area = (512 * 0.934 / 1000) ** 2
    assert f"{area:.2f}" in row.inner_text()
    share = 100 * 512**2 / finished.labels.size
    assert f"{share:.1f} %" in row.inner_text()
