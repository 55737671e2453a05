"""OME-Zarr labels, read by TensorStore straight from the zip."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
from numpy.typing import NDArray

from wsi.geometry import Size
from wsi.grid import InputGeometry, make_grid
from wsi.palette import LabelClass, Palette
from wsi.writing.label_tiff import LabelTiff
from wsi.writing.ome_zarr import write_ome_zarr
from wsi.writing.pyramid import write_label_pyramids

from .test_label_tiff import ArrayTiles

PALETTE = Palette((LabelClass(1, "normal", (0, 0, 0)), LabelClass(2, "in situ", (0, 200, 10))))
GRID = make_grid(Size(6200, 2900), 0.25, InputGeometry(0.5, 5, 5, 64))


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    values: NDArray[np.uint8] = np.zeros((GRID.label_size.height, GRID.label_size.width), np.uint8)
    values[100:900, 200:2000] = 1
    values[200:700, 700:1900] = 2
    folder = tmp_path_factory.mktemp("labels")
    pair = {name: folder / f"{name}.tif" for name in ("labels", "overlay")}
    write_label_pyramids(ArrayTiles(values), GRID, PALETTE, {}, **pair)
    return pair["labels"]


def read(path: Path, level: int) -> NDArray[np.uint8]:
    """A level, by another implementation of Zarr."""
    spec: Any = {"driver": "zarr3", "kvstore": f"file://{path}|zip:labels/classes/{level}/"}
    return np.asarray(tensorstore.open(spec, read=True).result().read().result())


def attributes(path: Path, group: str) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(f"{group}zarr.json"))["attributes"]["ome"]


def test_every_level_is_that_of_the_label_map(labels: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.ome.zarr.zip"
    write_ome_zarr(labels, GRID, PALETTE, path)
    with LabelTiff(labels) as expected:
        for level in range(len(expected.sizes)):
            (whole,) = [np.concatenate([band for _, band in expected.bands(level)])]
            np.testing.assert_array_equal(read(path, level), whole)
        levels = len(expected.sizes)
    assert not list(tmp_path.glob(".*")), "nothing is left beside it"
    with zipfile.ZipFile(path) as archive:
        assert not [name for name in archive.namelist() if name.endswith("/0/c/1/0")], "zeros are not stored"
    datasets = attributes(path, "labels/classes/")["multiscales"][0]["datasets"]
    assert [one["path"] for one in datasets] == [str(level) for level in range(levels)]


def test_colours_names_and_places_are_in_the_metadata(labels: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.ome.zarr.zip"
    write_ome_zarr(labels, GRID, PALETTE, path)
    assert attributes(path, "labels/") == {"version": "0.5", "labels": ["classes"]}
    found = attributes(path, "labels/classes/")
    colours = {one["label-value"]: one["rgba"] for one in found["image-label"]["colors"]}
    assert colours == {0: [0, 0, 0, 0], 1: [0, 0, 0, 255], 2: [0, 200, 10, 255]}
    names = {one["label-value"]: one["name"] for one in found["image-label"]["properties"]}
    assert names[2] == "in situ"
    scale, translation = found["multiscales"][0]["datasets"][1]["coordinateTransformations"]
    assert scale["scale"] == pytest.approx([1.0, 1.0])
    # The middle of the first pixel, four level-0 pixels wide, from that of the slide's first.
    assert translation["translation"] == pytest.approx([1.5 * 0.25, 1.5 * 0.25])


def test_same_labels_same_bytes(labels: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_ome_zarr(labels, GRID, PALETTE, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
