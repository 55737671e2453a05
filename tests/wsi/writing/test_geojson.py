"""GeoJSON of a label map, read by others: geojson-pydantic, shapely."""

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import tifffile
from geojson_pydantic import FeatureCollection

from tests.wsi.writing.test_label_tiff import ArrayTiles
from wsi.errors import LabelTiffError
from wsi.geometry import Size
from wsi.grid import InputGeometry, make_grid
from wsi.palette import LabelClass, Palette
from wsi.writing.geojson import write_regions
from wsi.writing.pyramid import write_label_pyramids
from wsi.writing.region_options import RegionOptions, regions_command

PALETTE = Palette((LabelClass(1, "normal", (10, 20, 30)), LabelClass(3, "in situ µ", (255, 0, 0))))
LABEL_UM = 0.93


@pytest.fixture(scope="module")
def labels_tif(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disc of class 3 in a square of class 1 on glass, 2 x 2 level-0 px a label px."""
    y, x = np.mgrid[:600, :700]
    labels = np.zeros((600, 700), np.uint8)
    labels[50:550, 60:640] = 1
    labels[(x - 350) ** 2 + (y - 300) ** 2 < 150**2] = 3
    folder = tmp_path_factory.mktemp("job")
    geometry = InputGeometry(LABEL_UM, context_ratio=5, slices_per_side=5, halo_px=64)
    grid = make_grid(Size(1400, 1200), LABEL_UM / 2, geometry)
    description = {"mpp": {"label": grid.label_mpp, "downsample": grid.downsample}, "software": "darefine 1"}
    write_label_pyramids(
        ArrayTiles(labels),
        grid,
        PALETTE,
        description,
        labels=folder / "labels.tif",
        overlay=folder / "overlay.tif",
    )
    return folder / "labels.tif"


def written(labels_tif: Path, out: Path, **options: float) -> dict[str, Any]:
    write_regions(labels_tif, out, RegionOptions(PALETTE, **options))
    collection: dict[str, Any] = json.loads(gzip.decompress(out.read_bytes()))
    return collection


def test_it_is_geojson_with_names_and_colours_as_qupath_has_them(labels_tif: Path, tmp_path: Path) -> None:
    collection = written(labels_tif, tmp_path / "r.gz")
    FeatureCollection.model_validate(collection)
    properties = [feature["properties"] for feature in collection["features"]]
    assert [one["objectType"] for one in properties] == ["annotation"] * 2
    assert [one["classification"] for one in properties] == [
        {"name": "normal", "color": [10, 20, 30]},
        {"name": "in situ µ", "color": [255, 0, 0]},
    ]
    assert collection["darefine"]["tolerance_um"] == 2


def test_polygons_lie_on_the_slide(labels_tif: Path, tmp_path: Path) -> None:
    collection = written(labels_tif, tmp_path / "r.gz")
    square, disc = (shapely.from_geojson(json.dumps(f["geometry"])) for f in collection["features"])
    assert square.bounds == (120, 100, 1280, 1100), "level-0 px"
    assert len(square.interiors) == 1
    exact = shapely.Point(700, 600).buffer(300, quad_segs=64)
    assert shapely.hausdorff_distance(exact.boundary, disc.boundary) < 2 / (LABEL_UM / 2) + 2
    assert disc.area == pytest.approx(exact.area, rel=0.01)
    assert shapely.Polygon(square.interiors[0]).equals(disc), "one border in common"
    measured = collection["features"][1]["properties"]["measurements"]["area_um2"]
    assert measured == pytest.approx(disc.area * (LABEL_UM / 2) ** 2, abs=0.01)


def test_options_are_in_um(labels_tif: Path, tmp_path: Path) -> None:
    disc_um2 = np.pi * (150 * LABEL_UM) ** 2
    assert len(written(labels_tif, tmp_path / "r.gz", min_area_um2=1.05 * disc_um2)["features"]) == 1
    collections = [written(labels_tif, tmp_path / "r.gz", tolerance_um=um) for um in (0, 1, 8)]
    corners = [len(str(collection)) for collection in collections]
    assert corners[0] > 3 * corners[1] > 4 * corners[2]


def test_a_process_of_its_own_writes_the_same_bytes(labels_tif: Path, tmp_path: Path) -> None:
    options = RegionOptions(PALETTE, tolerance_um=1)
    write_regions(labels_tif, tmp_path / "here.gz", options)
    subprocess.run(regions_command(labels_tif, tmp_path / "there.gz", options), check=True)
    assert (tmp_path / "there.gz").read_bytes() == (tmp_path / "here.gz").read_bytes()


def test_a_label_map_without_scale_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "l.tif", np.ones((64, 64), np.uint8), photometric="minisblack")
    with pytest.raises(LabelTiffError, match="scale"):
        write_regions(tmp_path / "l.tif", tmp_path / "out.gz", RegionOptions(PALETTE))
    assert not list(tmp_path.glob("*out.gz*"))
