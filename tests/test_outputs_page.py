"""The examples of docs/outputs.md, run on the files that the service's own code makes."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.dicom_slide import write_dicom_slide
from tests import ROOT
from tests.wsi.writing.test_label_tiff import ArrayTiles
from wsi.geometry import Size
from wsi.grid import InputGeometry, make_grid
from wsi.palette import LabelClass, Palette
from wsi.writing.dicom_seg import SegmentationOrigin, write_dicom_seg
from wsi.writing.ome_zarr import write_ome_zarr
from wsi.writing.pyramid import write_label_pyramids

PAGE = (ROOT / "docs" / "outputs.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"<!-- tested -->\n```python\n(.*?)```", PAGE, re.DOTALL)
PALETTE = Palette((LabelClass(1, "normal", (0, 0, 0)), LabelClass(2, "benign", (255, 0, 0))))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder of downloaded results of a DICOM slide."""
    grid = make_grid(Size(2400, 1400), 0.5, InputGeometry(1.0, 5, 5, 64))
    labels = np.ones((grid.label_size.height, grid.label_size.width), np.uint8)
    labels[200:500, 100:300] = 2
    pair = {name: tmp_path / f"{name}.tif" for name in ("labels", "overlay")}
    write_label_pyramids(ArrayTiles(labels), grid, PALETTE, {}, **pair)
    slide = write_dicom_slide(tmp_path / "slide", np.full((1400, 2400, 3), 200, np.uint8), 0.5)
    origin = SegmentationOrigin("a-model", "1", "0" * 64, PALETTE, "darefine 0")
    write_dicom_seg(slide, pair["labels"], grid, origin, tmp_path / "labels.dcm")
    write_ome_zarr(pair["labels"], grid, PALETTE, tmp_path / "labels.ome.zarr.zip")
    return tmp_path


@pytest.mark.slow
def test_examples_run_as_they_are_printed(results: Path) -> None:
    assert len(EXAMPLES) == 2
    said = [
        subprocess.run(
            [sys.executable, "-c", example], cwd=results, check=True, capture_output=True, text=True
        ).stdout
        for example in EXAMPLES
    ]
    assert said == [
        "1 normal\n2 benign\n(700, 1200)\n",
        "0 not analysed\n1 normal\n2 benign\n(700, 1200) 2\n",
    ]
