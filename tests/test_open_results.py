"""The examples of docs/open-results.md, run on the files that the service's own code makes."""

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import ROOT
from tests.wsi.writing.test_label_tiff import ArrayTiles
from wsi.geometry import Size
from wsi.grid import InputGeometry, make_grid
from wsi.palette import LabelClass, Palette
from wsi.writing.geojson import write_regions
from wsi.writing.pyramid import write_label_pyramids
from wsi.writing.region_options import RegionOptions

PAGE = (ROOT / "docs" / "open-results.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"<!-- tested -->\n```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder of downloaded results: a ring of one class around another."""
    y, x = np.mgrid[:1024, :2304]
    labels = np.where((x - 700) ** 2 + (y - 500) ** 2 < 200**2, 2, 1).astype(np.uint8)
    labels[:, 1500:] = 0
    palette = Palette((LabelClass(1, "normal", (0, 0, 0)), LabelClass(2, "benign", (255, 0, 0))))
    grid = make_grid(Size(4608, 2048), 0.5, InputGeometry(1.0, 5, 5, 64))
    mpp = {"label": 1.0, "downsample": 2}
    pair = {name: tmp_path / f"{name}.tif" for name in ("labels", "overlay")}
    write_label_pyramids(ArrayTiles(labels), grid, palette, {"mpp": mpp}, **pair)
    write_regions(pair["labels"], tmp_path / "packed.gz", RegionOptions(palette))
    (tmp_path / "regions.geojson").write_bytes(gzip.decompress((tmp_path / "packed.gz").read_bytes()))
    classes = [{"value": c.value, "name": c.name, "colour": c.colour, "area_mm2": 1} for c in palette.classes]
    result = {"classes": classes, "mpp": mpp, "warnings": [{"code": "blurred", "words": "Out of focus."}]}
    (tmp_path / "result.json").write_text(json.dumps(result))
    return tmp_path


@pytest.mark.slow
def test_examples_run_as_they_are_printed(results: Path) -> None:
    assert len(EXAMPLES) == 2
    for example in EXAMPLES:
        said = subprocess.run(
            [sys.executable, "-c", example], cwd=results, check=True, capture_output=True, text=True
        )
    assert "blurred - Out of focus." in said.stdout
    assert (results / "regions.png").stat().st_size > 10_000
    elements = json.loads((results / "dsa-annotation.json").read_text())["elements"]
    assert [element["label"]["value"] for element in elements] == ["normal", "benign"]
    assert [len(element["holes"]) for element in elements] == [1, 0]
