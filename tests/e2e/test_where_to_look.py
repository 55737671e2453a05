"""docs/where-to-look.md: every command and every line of Python on it is run, and does what the page says."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tests import ROOT
from tests.doc_pages import code_blocks, command_runner
from wsi.phantom import PhantomFiles

from .conftest import RunningService

pytestmark = pytest.mark.e2e

PAGE = ROOT / "docs" / "where-to-look.md"


@pytest.fixture(scope="module")
def made(
    service: RunningService,
    small_phantom: PhantomFiles,
    tiny_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The folder in which all of the page was run, on a slide and a picture of a mask."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copy(small_phantom.slide, folder / "case-17.tif")
    with tifffile.TiffFile(small_phantom.slide) as slide:
        height, width = slide.pages[0].shape[:2]
    mask = np.zeros((height // 20, width // 20), np.uint8)
    mask[20:50, 30:70] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    run = command_runner(
        folder, folder, DAREFINE_URL=service.url, DAREFINE_WEIGHTS_DIR=str(tiny_model.parent)
    )
    in_regions, elsewhere = code_blocks(PAGE, "bash")
    run("bash", "-euc", in_regions)
    (python,) = code_blocks(PAGE, "python")
    (folder / "by-polygon.json").write_text(run(sys.executable, "-c", python))
    run("bash", "-euc", elsewhere)
    return folder


def labels_in(made: Path, name: str) -> NDArray[np.uint8]:
    labels: NDArray[np.uint8] = tifffile.imread(made / name / "case-17.tiny.labels.tif")
    return labels


def result_of(made: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((made / "in-regions" / "case-17.tiny.result.json").read_text())
    return document


def test_only_the_regions_of_the_page_are_labelled(made: Path) -> None:
    labels, result = labels_in(made, "in-regions"), result_of(made)
    rows, columns = np.nonzero(labels)
    centres_um = (np.stack([columns, rows]) + 0.5) * result["mpp"]["label"]
    assert len(rows) > 0
    assert shapely.contains_xy(shapely.box(300, 300, 800, 700).buffer(1e-6), *centres_um).all()
    assert np.array_equal(labels_in(made, "in-a-rectangle"), labels)


def test_areas_of_the_page_are_those_of_its_regions(made: Path) -> None:
    result = result_of(made)
    assert result["tissue"]["searched_mm2"] == pytest.approx(0.2, rel=1e-6)
    by_polygon = json.loads((made / "by-polygon.json").read_text())
    assert by_polygon["searched_mm2"] == pytest.approx(0.45 * 0.467**2, rel=1e-3)
    outlines = json.loads((made / "in-regions" / "case-17.tiny.tissue.geojson").read_text())
    area_um2 = sum(one["properties"]["measurements"]["area_um2"] for one in outlines["features"])
    assert area_um2 / 1e6 == pytest.approx(result["tissue"]["area_mm2"], rel=0.02)


def test_masks_of_ones_own_on_the_page_limit_the_labels(made: Path) -> None:
    mpp = result_of(made)["mpp"]
    everything, own_mask, picture = (
        labels_in(made, name) for name in ("everything", "own-mask", "own-picture")
    )
    assert everything.all()
    assert np.array_equal(own_mask, np.where(own_mask > 0, everything, 0)), "labels are the same everywhere"
    assert np.count_nonzero(own_mask) * (mpp["label"] / 1000) ** 2 == pytest.approx(0.2, rel=0.01)
    per_px = 20 / mpp["downsample"]
    rows, columns = np.nonzero(picture)
    assert (rows.min() / per_px, rows.max() / per_px) == pytest.approx((20, 50), abs=1)
    assert (columns.min() / per_px, columns.max() / per_px) == pytest.approx((30, 70), abs=1)


def test_a_region_off_the_slide_is_said_in_one_line(
    service: RunningService, small_phantom: PhantomFiles, tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "far.json").write_text(
        '{"unit": "px", "rectangles": [{"x": 99999, "y": 0, "width": 9, "height": 9}]}'
    )
    for name, where in (("submit", ["--url", service.url]), ("run", ["--model", str(tiny_model)])):
        command = [sys.executable, "-m", "darefine", name, str(small_phantom.slide), *where]
        options = ["--regions", str(tmp_path / "far.json"), "--out", str(tmp_path / name)]
        done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 1
        assert "Region 1" in done.stderr + done.stdout
        assert "Traceback" not in done.stderr
