"""docs/client.md: every command and every line of Python on it is run."""

import gzip
import json
import shutil
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.doc_pages import code_blocks, command_runner
from wsi.phantom import PhantomFiles

from .conftest import RunningService

pytestmark = pytest.mark.e2e

PAGE = ROOT / "docs" / "client.md"
URL = "http://127.0.0.1:8000"


def test_the_page_does_what_it_says(
    service: RunningService, small_phantom: PhantomFiles, slide_root: Path, tiny_model: Path, tmp_path: Path
) -> None:
    (slide_root / "slides").mkdir()
    shutil.copy(small_phantom.slide, slide_root / "slides" / "case-17.tif")
    run = command_runner(
        slide_root,
        tmp_path,
        DAREFINE_URL=service.url,
        DAREFINE_WEIGHTS_DIR=str(tiny_model.parent),
        SLURM_ARRAY_TASK_ID="0",
    )

    submitted, in_place, local, shard, listed = (
        run("bash", "-euc", block) for block in code_blocks(PAGE, "bash")
    )
    assert "case-17.tiny.{overlay.tif, labels.tif, result.json}" in submitted
    assert "(done before)" not in submitted + in_place + local
    assert "(done before)" in shard
    assert listed.count("case-17.tif") >= 2, "jobs and slides"
    for folder in ("results", "in-place", "local"):
        assert len((slide_root / folder / "summary.csv").read_text().splitlines()) == 2
        for name in ("overlay.tif", "labels.tif"):
            made, sent = (slide_root / one / f"case-17.tiny.{name}" for one in (folder, "results"))
            assert made.read_bytes() == sent.read_bytes(), (folder, name)

    with gzip.open(slide_root / "in-place" / "case-17.tiny.regions-2um-500um2.geojson.gz") as regions:
        assert json.load(regions)["type"] == "FeatureCollection"

    python = "".join(code_blocks(PAGE, "python"))
    assert URL in python
    printed = run(sys.executable, "-c", python.replace(URL, service.url)).splitlines()
    assert printed[0].startswith("slides/case-17.tif skipped ")
    assert printed[1].startswith("tiny ")
    assert "succeeded 100%" in printed
    assert "from-python/case-17.tiny.overlay.tif" in printed
    assert "422 model-unknown" in printed
    assert printed[-1] == "cancelled"
