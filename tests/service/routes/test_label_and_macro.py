"""Label and macro images, which show names and case numbers, are in no answer."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from PIL import Image

from benchmarks.dicom_slide import FRAME_PX, add_dicom_pictures, write_dicom_slide
from service.app import create_app

from ...wsi.aperio_slide import LOUD, SECRET, is_loud, write_aperio_slide
from ..conftest import Api

TILE, THUMBNAIL = "/v1/slides/{slide_id}/tiles/{level}/{column}_{row}.jpeg", "/v1/slides/{slide_id}/thumbnail"


def aperio_of(compression: str) -> Callable[[Path], Path]:
    """Return what writes such a slide into a folder."""
    return lambda folder: write_aperio_slide(folder / "case.svs", compression)


def dicom(folder: Path) -> Path:
    """A DICOM slide in a folder of its own; return its volume."""
    tissue = np.random.default_rng(4).integers(150, 200, (700, 900, 1), np.uint8).repeat(3, 2)
    slide = write_dicom_slide(folder / "dicom", tissue, 0.5)
    add_dicom_pictures(slide, np.full((FRAME_PX, FRAME_PX, 3), LOUD, np.uint8), SECRET)
    return slide / "level-0.dcm"


@pytest.fixture(params=[aperio_of("jpeg"), aperio_of("deflate"), dicom], ids=["tiff", "openslide", "dicom"])
def slide(request: pytest.FixtureRequest, api: Api, tmp_path: Path) -> Path:
    """A slide with both, which OpenSlide would give to whoever asks for them."""
    folder = api.slide_root / tmp_path.name
    folder.mkdir()
    path: Path = request.param(folder)
    with openslide.OpenSlide(path) as opened:
        found = opened.associated_images
        assert {"label", "macro"} <= set(found)
        assert all(is_loud(np.asarray(found[name].convert("RGB"))) for name in ("label", "macro"))
    return path


def urls_of(stored: dict[str, Any], grid: dict[str, Any]) -> list[str]:
    """All tiles of all levels, and thumbnails of several sizes."""
    urls = [f"{stored['links']['thumbnail']}?side={side}" for side in (32, 64, 256, 1024)]
    for level in range(grid["levels"]):
        columns, rows = (
            -(-max(1, -(-grid[side] // 2**level)) // grid["tile_px"]) for side in ("width", "height")
        )
        urls += [
            f"{stored['links']['tiles']}/{level}/{x}_{y}.jpeg" for x in range(columns) for y in range(rows)
        ]
    return urls


def test_no_picture_and_no_words_of_label_or_macro_are_served(api: Api, slide: Path) -> None:
    answer = api.http.post("/v1/slides", json={"uri": str(slide)})
    assert answer.status_code == 201, answer.text
    stored = answer.json()
    grid = api.http.get(stored["links"]["tiles"])
    urls = urls_of(stored, grid.json())
    assert len(urls) > 7
    for url in urls:
        picture = api.http.get(url)
        assert picture.status_code == 200, url
        assert not is_loud(np.asarray(Image.open(io.BytesIO(picture.content)))), url
    listed = [one for one in api.http.get("/v1/slides").json()["slides"] if one["id"] == stored["id"]]
    assert listed == [stored] == [api.http.get(stored["links"]["self"]).json()]
    said = json.dumps([stored, grid.json()])
    assert not [word for word in ("label", "macro", "associated", "Smith") if word in said]


def test_these_are_all_the_pictures_of_a_slide_there_are(api: Api) -> None:
    """A new route that answers with a picture of a slide belongs into the test above."""
    found = {
        path
        for path, operations in create_app(api.settings).openapi()["paths"].items()
        if path.startswith("/v1/slides/")
        and any(
            kind.startswith("image/") for kind in operations.get("get", {})["responses"]["200"]["content"]
        )
    }
    assert found == {TILE, THUMBNAIL}
