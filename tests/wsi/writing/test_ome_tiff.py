"""Pyramids of a quantity: an OME-TIFF and a chain of levels in one file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import pyvips
import tifffile
from numpy.typing import NDArray

from wsi.geometry import Size
from wsi.grid import InputGeometry, make_grid
from wsi.writing.pyramid import write_quantity_pyramid

from .test_label_tiff import ArrayTiles

DESCRIPTION = {"software": "darefine 0", "note": "a < b & \u00b5"}


def written(path: Path, values: NDArray[np.uint8]) -> Path:
    size = Size(values.shape[1] * 2, values.shape[0] * 2)
    grid = make_grid(size, 0.25, InputGeometry(0.5, 5, 5, 64))
    write_quantity_pyramid(ArrayTiles(values), grid, DESCRIPTION, path, channel="how sure")
    return path


def draw(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(width).integers(1, 256, (height, width), np.uint8)


@pytest.mark.parametrize(("height", "width", "levels"), [(400, 300, 1), (700, 1300, 3)])
def test_all_readers_find_all_levels(tmp_path: Path, height: int, width: int, levels: int) -> None:
    values = draw(height, width)
    path = written(tmp_path / "p.tif", values)
    with tifffile.TiffFile(path) as tiff:
        pages = [page.asarray() for page in tiff.pages]
        (series,) = tiff.series
        assert series.kind == "ome"
        by_ome = [level.asarray() for level in series.levels]
        ome: Any = tifffile.xml2dict(tiff.ome_metadata or "")["OME"]["Image"]
    assert len(pages) == levels
    np.testing.assert_array_equal(pages[0], values)
    for page, level in zip(pages, by_ome, strict=True):
        np.testing.assert_array_equal(page, level)
    with openslide.OpenSlide(path) as slide:
        assert slide.level_count == levels
    for level in range(1, levels):
        by_vips = pyvips.Image.tiffload(str(path), subifd=level - 1).numpy()
        np.testing.assert_array_equal(by_vips.squeeze(), pages[level])
    assert (ome["Pixels"]["PhysicalSizeX"], ome["Pixels"]["Channel"]["Name"]) == (0.5, "how sure")
    assert json.loads(ome["Description"]) == DESCRIPTION


def test_same_values_same_bytes_and_others_another_uuid(tmp_path: Path) -> None:
    values = draw(700, 600)
    one, two = (written(tmp_path / name, values) for name in ("one.tif", "two.tif"))
    assert one.read_bytes() == two.read_bytes()
    values[5, 5] ^= 1
    other = written(tmp_path / "other.tif", values)
    uuids = []
    for path in (one, other):
        with tifffile.TiffFile(path) as tiff:
            uuids.append(tifffile.xml2dict(tiff.ome_metadata or "")["OME"]["UUID"])
    assert len(set(uuids)) == 2
