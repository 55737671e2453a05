"""`darefine demo`, as a new user runs it, on a smaller slide: all of it one class, 2 x 2 patches."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from darefine.cli.main import main

pytestmark = pytest.mark.e2e


def test_the_demo_shows_that_the_patch_tells_what_the_slice_cannot(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["demo", "--out", str(out), "--size", "10240"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    scores = dict(re.findall(r"(slice and patch|slice alone): MIoU against the truth ([\d.]+)", done.output))
    assert float(scores["slice and patch"]) > 0.9
    assert float(scores["slice alone"]) < 0.5
    for model in ("phantom-resnet18-aligned", "phantom-resnet18-single"):
        assert {path.name for path in (out / model).iterdir()} == {"overlay.tif", "labels.tif", "result.json"}
    with Image.open(out / "demo.png") as picture:
        assert picture.width > 4 * 500
