"""The heat map of probabilities, where a job kept them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi.writing.label_store import LabelStore
from wsi.writing.pyramid import write_quantity_pyramid
from wsi.writing.reduction import reduce_mean

from .conftest import Service
from .drawn_job import DrawnJob
from .viewer import SAFE, Viewer

pytestmark = pytest.mark.slow

SURE, UNSURE = (253, 231, 37), (68, 1, 84)
"""Ends of the scale: the square is certain, the rest at even odds."""


class HeatJob(DrawnJob):
    """A drawn job that keeps probabilities."""

    def __init__(self, service: Service, slide_id: str) -> None:
        super().__init__(service, slide_id, outputs=("probabilities",))
        self.kept = LabelStore(self.folder / "probability-patches", self.grid, reduce_mean)

    def finish_patch(self, index: int) -> None:
        row, column = divmod(index, self.grid.patch_columns)
        side = self.grid.patch_px
        part = self.labels[row * side : (row + 1) * side, column * side : (column + 1) * side]
        core: NDArray[np.uint8] = np.zeros((side, side), np.uint8)
        core[: part.shape[0], : part.shape[1]] = np.where(part == 2, 255, 85)
        self.kept.write(index, core)
        super().finish_patch(index)

    def finish(self) -> None:
        for index in range(self.grid.patch_columns * self.grid.patch_rows):
            self.finish_patch(index)
        write_quantity_pyramid(self.kept, self.grid, {}, self.folder / "probabilities.tif", channel="p")
        super().finish()


def test_it_is_switched_by_key_and_checkbox_and_grows(
    viewer: Viewer, service: Service, square_slide: str
) -> None:
    job = HeatJob(service, square_slide)
    job.start()
    job.finish_patch(0)
    viewer.open_job(job.id, opacity=100)
    square = viewer.box(SAFE[2])
    viewer.page.keyboard.press("h")
    viewer.settle()
    assert viewer.page.locator("#heat").is_checked()
    assert viewer.box(SURE, tolerance=6) == pytest.approx(square, abs=1)
    first = viewer.box(UNSURE, tolerance=6)
    assert not (np.abs(viewer.pixels() - np.array(SAFE[1])).max(2) <= 6).any(), "no classes meanwhile"
    job.finish()
    viewer.until("document.querySelector('.downloads a[href$=\"probabilities.tif\"]') !== null")
    viewer.settle()
    whole = viewer.box(UNSURE, tolerance=6)
    assert whole[2] - whole[0] > first[2] - first[0], "patches that came since are on it"
    assert viewer.box(SURE, tolerance=6)[2] >= square[2]
    viewer.page.mouse.move(*middle_of(viewer, viewer.box(SURE, tolerance=6)))
    assert "100" in viewer.page.locator(".readout").inner_text()
    viewer.until("location.hash.includes('heat=1')")
    with viewer.no_requests():
        viewer.get("checkbox", "Probability").uncheck()
        viewer.settle()
        assert viewer.box(SAFE[2])
        assert not (np.abs(viewer.pixels() - np.array(UNSURE)).max(2) <= 6).any()
    viewer.open_job(job.id, heat=1, opacity=100)
    assert viewer.box(UNSURE, tolerance=6) == pytest.approx(whole, abs=1)


def middle_of(viewer: Viewer, box: tuple[int, int, int, int]) -> tuple[float, float]:
    """Middle of a box of the stage, on the page."""
    stage = viewer.page.locator("#stage").bounding_box()
    assert stage is not None
    return stage["x"] + (box[0] + box[2]) / 2, stage["y"] + (box[1] + box[3]) / 2


def test_a_job_without_probabilities_has_no_switch(viewer: Viewer, finished: DrawnJob) -> None:
    viewer.open_job(finished.id, opacity=100)
    before = viewer.pixels()
    assert viewer.page.locator("#heat").is_hidden()
    viewer.page.keyboard.press("h")
    viewer.settle()
    assert (viewer.pixels() == before).all()


def test_the_form_asks_for_them(viewer: Viewer, service: Service, square_slide: str) -> None:
    viewer.open(f"slide={square_slide}")
    viewer.settle()
    viewer.page.get_by_label("Keep probabilities, for a heat map").check()
    with viewer.page.expect_response(lambda answer: answer.request.method == "POST") as posted:
        viewer.get("button", "Run").click()
    job = posted.value.json()
    assert job["parameters"]["outputs"] == ["probabilities"]
    if posted.value.status == 202:  # 200: an earlier test's job has done it already
        service.http.post(job["links"]["cancel"])
