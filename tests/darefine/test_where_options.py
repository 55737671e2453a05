"""--regions and --tissue on the command line: what is read, what is refused in one line."""

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from darefine.cli.main import main
from darefine.cli.run import where_of
from darefine.cli.where_options import MaskPicture, tissue_on, where_options
from wsi.regions_of_interest import RegionsOfInterest
from wsi.slide_folders import FoundSlide

from .conftest import write_slide

TRIANGLE = {"type": "Polygon", "coordinates": [[[0, 0], [90, 0], [0, 90], [0, 0]]]}


def read(*arguments: str) -> Any:
    """What a command is given."""
    given: dict[str, Any] = {}

    @click.command()
    @where_options
    def command(**options: Any) -> None:
        given.update(options)

    done = CliRunner().invoke(command, arguments)
    return given if done.exit_code == 0 else done.stderr


@pytest.mark.parametrize(
    ("text", "unit"), [("10,20.5,300,40", "px"), ("10, 20.5, 300, 40px", "px"), ("10,20.5,300,40um", "um")]
)
def test_a_rectangle_is_four_numbers_and_a_unit(text: str, unit: str) -> None:
    assert read("--regions", text)["regions"] == {
        "unit": unit,
        "rectangles": [{"x": 10.0, "y": 20.5, "width": 300.0, "height": 40.0}],
    }


def test_files_and_words(tmp_path: Path) -> None:
    (tmp_path / "a.geojson").write_text(json.dumps(TRIANGLE))
    (tmp_path / "m.png").write_bytes(b"...")

    assert read() == {"regions": None, "tissue": True}
    assert read("--tissue", "off")["tissue"] is False
    both = read("--tissue", str(tmp_path / "a.geojson"), "--regions", str(tmp_path / "a.geojson"))
    assert both == {"regions": TRIANGLE, "tissue": TRIANGLE}
    assert read("--tissue", str(tmp_path / "m.png"))["tissue"] == MaskPicture(tmp_path / "m.png")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--regions", "nowhere.json"], "nowhere.json cannot be read: No such file or directory."),
        (["--regions", "1,2,3"], "1,2,3 cannot be read"),
        (["--regions", __file__], "is no JSON"),
        (["--tissue", "maybe"], "maybe is neither on, off nor a file."),
        (["--tissue", "nowhere.json"], "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused(arguments: list[str], said: str) -> None:
    assert said in read(*arguments)


def test_a_picture_is_laid_over_its_slide(tmp_path: Path) -> None:
    slide = FoundSlide(write_slide(tmp_path / "one.tif"))
    with Image.open(slide.path) as pixels:
        width, height = pixels.size
    mask = np.zeros((height // 10, width // 10), np.uint8)
    mask[2:, 3:] = 1
    Image.fromarray(mask).save(tmp_path / "m.png")

    where = where_of(None, tissue_on([slide], MaskPicture(tmp_path / "m.png")))

    assert where["tissue"] is False
    assert where["regions"] is None
    ((ring,),) = RegionsOfInterest.from_json(where["tissue_outlines"]).polygons
    assert (min(x for x, _ in ring), min(y for _, y in ring)) == pytest.approx((30, 20), rel=0.1)
    with pytest.raises(click.UsageError, match="a mask of one slide; these are 2"):
        tissue_on([slide, slide], MaskPicture(tmp_path / "m.png"))
    (tmp_path / "m.png").write_bytes(b"...")
    with pytest.raises(click.UsageError, match="no picture that can be read"):
        tissue_on([slide], MaskPicture(tmp_path / "m.png"))


@pytest.mark.parametrize("option", ["--regions", "--tissue"])
def test_run_refuses_polygons_it_cannot_use_before_a_model_is_looked_for(option: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"type": "Point", "coordinates": [1, 2]}')
    slide = write_slide(tmp_path / "one.tif")

    arguments = ["run", str(slide), option, str(tmp_path / "p.json"), "--out", str(tmp_path / "out")]
    refused = CliRunner().invoke(main, arguments)

    assert refused.exit_code == 2
    assert f"{option}: Feature 1 is a Point, which encloses nothing" in refused.stderr
