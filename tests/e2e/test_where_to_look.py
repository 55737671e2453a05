"""docs/where-to-look.md: every command and every line of Python on it is run, and does what the page says."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
from PIL import Image

from tests import ROOT
from wsi.phantom import PhantomFiles

from .conftest import RunningService

pytestmark = pytest.mark.e2e

PAGE = (ROOT / "docs" / "where-to-look.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_does_what_it_says(
    service: RunningService, small_phantom: PhantomFiles, tiny_model: Path, tmp_path: Path
) -> None:
    shutil.copy(small_phantom.slide, tmp_path / "case-17.tif")
    (tmp_path / "darefine").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m darefine "$@"\n')
    (tmp_path / "darefine").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "DAREFINE_URL": service.url,
        "DAREFINE_WEIGHTS_DIR": str(tiny_model.parent),
    }

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    with tifffile.TiffFile(small_phantom.slide) as slide:
        height, width = slide.pages[0].shape[:2]
    mask = np.zeros((height // 20, width // 20), np.uint8)
    mask[20:50, 30:70] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    in_regions, elsewhere = blocks("bash")
    run("bash", "-euc", in_regions)
    (python,) = blocks("python")
    by_polygon = json.loads(run(sys.executable, "-c", python))
    run("bash", "-euc", elsewhere)

    rectangle = shapely.box(300, 300, 800, 700)  # um
    labels = tifffile.imread(tmp_path / "in-regions" / "case-17.tiny.labels.tif")
    result = json.loads((tmp_path / "in-regions" / "case-17.tiny.result.json").read_text())
    rows, columns = np.nonzero(labels)
    centres_um = (np.stack([columns, rows]) + 0.5) * result["mpp"]["label"]
    assert len(rows) > 0
    assert shapely.contains_xy(rectangle.buffer(1e-6), *centres_um).all()
    assert result["tissue"]["searched_mm2"] == pytest.approx(0.2, rel=1e-6)
    assert by_polygon["searched_mm2"] == pytest.approx(0.45 * 0.467**2, rel=1e-3)
    outlines = json.loads((tmp_path / "in-regions" / "case-17.tiny.tissue.geojson").read_text())
    area_um2 = sum(one["properties"]["measurements"]["area_um2"] for one in outlines["features"])
    assert area_um2 / 1e6 == pytest.approx(result["tissue"]["area_mm2"], rel=0.02)
    by_option = tifffile.imread(tmp_path / "in-a-rectangle" / "case-17.tiny.labels.tif")
    everything, own_mask, picture = (
        tifffile.imread(tmp_path / name / "case-17.tiny.labels.tif")
        for name in ("everything", "own-mask", "own-picture")
    )
    assert np.array_equal(by_option, labels)
    assert everything.all()
    assert np.array_equal(own_mask, np.where(own_mask > 0, everything, 0)), "labels are the same everywhere"
    assert np.count_nonzero(own_mask) * (result["mpp"]["label"] / 1000) ** 2 == pytest.approx(0.2, rel=0.01)
    per_px = 20 / result["mpp"]["downsample"]
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
