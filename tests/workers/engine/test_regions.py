"""A job with regions: only what touches them runs, outside is 0, inside is as in the whole job."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from workers.jobs import JobFiles, JobParameters
from workers.protocol import RunJob
from wsi.errors import RegionsInvalidError
from wsi.read_regions import read_regions

from .test_pipeline import CARD, Threshold, go

SMALL_PATCHES = replace(CARD, input=replace(CARD.input, slices_per_side=1))
"""Patches of one slice: 512 label px of 2 l0 px."""


class SmallPatches(Threshold):
    """Labels by the green value, in patches of one slice."""

    card = SMALL_PATCHES


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tissue of 3000 x 2400 l0 px with glass on the right; a label px is a block of one colour."""
    blocks = np.random.default_rng(3).integers(60, 180, (1200, 1500, 3), np.uint8)
    blocks[:, 1200:] = 245
    path = tmp_path_factory.mktemp("slide") / "blocks.tif"
    tifffile.imwrite(
        path,
        blocks.repeat(2, 0).repeat(2, 1),
        tile=(512, 512),
        photometric="rgb",
        resolution=(2e4, 2e4),  # px per cm: 0.5 um/px
        resolutionunit="CENTIMETER",
    )
    return path


@pytest.fixture(scope="module")
def whole(slide: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, NDArray[np.uint8]]:
    """Labels of the whole slide, with and without a search for tissue."""
    folder = tmp_path_factory.mktemp("whole")
    jobs = {tissue: job(slide, folder / f"{tissue}", None, tissue=tissue) for tissue in (True, False)}
    return {tissue: tifffile.imread(go(run, SmallPatches()).labels) for tissue, run in jobs.items()}


def job(
    slide: Path, folder: Path, regions: object, *, own_tissue: object = None, **parameters: Any
) -> RunJob:
    text = None if regions is None else read_regions(regions).to_json()
    outlines = None if own_tissue is None else read_regions(own_tissue).to_json()
    chosen = JobParameters(regions=text, tissue_outlines=outlines, **parameters)
    return RunJob("job", 1, slide.name, str(slide), str(folder), SMALL_PATCHES.name, chosen)


def rectangles(*sides: tuple[float, float, float, float]) -> dict[str, Any]:
    names = ("x", "y", "width", "height")
    return {"unit": "px", "rectangles": [dict(zip(names, one, strict=True)) for one in sides]}


@given(
    corners=st.lists(st.tuples(st.integers(1, 2900), st.integers(1, 2300)), min_size=2, max_size=2),
    tissue=st.booleans(),
)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_outside_is_0_and_inside_is_as_in_the_whole_job(
    slide: Path,
    whole: dict[bool, NDArray[np.uint8]],
    tmp_path_factory: pytest.TempPathFactory,
    corners: list[tuple[int, int]],
    tissue: bool,
) -> None:
    """The cut of a slide does not depend on regions, so each label is the one it would be anyway."""
    triangle = shapely.Polygon([(0, 0), *corners])
    if triangle.area < 10:
        triangle = shapely.box(5, 5, 800, 700)
    sent = json.loads(shapely.to_geojson(triangle))

    files = go(job(slide, tmp_path_factory.mktemp("job"), sent, tissue=tissue), SmallPatches())

    x, y = np.meshgrid(2 * np.arange(1500) + 1, 2 * np.arange(1200) + 1)  # centres, l0 px
    inside = shapely.contains_xy(triangle, x, y)
    labels = tifffile.imread(files.labels)
    other = labels != np.where(inside, whole[tissue], 0)
    assert shapely.dwithin(triangle.boundary, shapely.points(x[other], y[other]), 1e-6).all()


def test_only_what_touches_a_region_is_run(slide: Path, tmp_path: Path) -> None:
    network = SmallPatches()
    # Label px 500 to 530 of the first row of patches, on both sides of 512, and a corner of the last patch.
    run = job(slide, tmp_path, rectangles((1000, 0, 60, 60), (2300, 2300, 20, 20)))

    result = json.loads(go(run, network).result.read_text())

    assert network.patches == 3
    assert result["patches"] == 3
    assert result["tissue"]["area_mm2"] == pytest.approx((60 * 60 + 20 * 20) * 0.25e-6, abs=1e-6)
    assert result["tissue"]["searched_mm2"] == pytest.approx((60 * 60 + 20 * 20) * 0.25e-6, abs=1e-6)
    assert result["tissue"]["fraction"] == 1.0
    stated = result["resolved"]["regions"]
    assert (stated["unit"], stated["polygons"], stated["vertices"]) == ("px", 2, 8)
    assert result["parameters"]["regions"] == stated
    assert result["parameters"]["tissue_rules"] == result["resolved"]["tissue_rules"] == 2


def test_the_share_of_tissue_is_that_within_the_regions(slide: Path, tmp_path: Path) -> None:
    run = job(slide, tmp_path, rectangles((2000, 1000, 900, 400)))

    tissue = json.loads(go(run, SmallPatches()).result.read_text())["tissue"]

    # Tissue ends at 2400 l0 px, 30 um of rim and one px of the mask included at 2460 to 2480.
    assert tissue["searched_mm2"] == pytest.approx(900 * 400 * 0.25e-6)
    assert 440 / 900 <= tissue["fraction"] <= 490 / 900
    assert tissue["fraction_of_slide"] == pytest.approx(
        tissue["area_mm2"] / (3000 * 2400 * 0.25e-6), rel=1e-3
    )


def test_an_own_tissue_mask_takes_the_place_of_the_search(slide: Path, tmp_path: Path) -> None:
    """Glass inside it is labelled too; regions limit it further, and are what its share is of."""
    mask = rectangles((2500, 1000, 400, 400))
    run = job(
        slide,
        tmp_path,
        rectangles((2600, 0, 400, 1200)),
        own_tissue=mask,
        tissue=False,
        outputs=("tissue.geojson",),
    )

    files = go(run, SmallPatches())

    labels = tifffile.imread(files.labels)
    assert (labels[500:600, 1300:1450] == 2).all()
    assert np.count_nonzero(labels) == 100 * 150
    result = json.loads(files.result.read_text())
    assert "tissue_rules" not in result["parameters"]
    assert result["resolved"]["tissue_outlines"]["vertices"] == 4
    assert result["tissue"]["searched_mm2"] == pytest.approx(400 * 1200 * 0.25e-6)
    assert result["tissue"]["fraction"] == pytest.approx(300 * 200 / (400 * 1200), rel=1e-3)
    assert outlines(files).equals(shapely.MultiPolygon([shapely.box(2600, 1000, 2900, 1200)]))


def test_a_mask_of_its_own_off_the_slide_fails_the_job(slide: Path, tmp_path: Path) -> None:
    with pytest.raises(RegionsInvalidError, match="Tissue polygon 1"):
        go(job(slide, tmp_path, None, own_tissue=rectangles((4000, 0, 9, 9)), tissue=False), SmallPatches())


def test_regions_without_tissue_say_so(slide: Path, tmp_path: Path) -> None:
    files = go(job(slide, tmp_path, rectangles((2700, 1000, 200, 200))), SmallPatches())

    result = json.loads(files.result.read_text())
    assert not tifffile.imread(files.labels).any()
    assert [warning["code"] for warning in result["warnings"]][-1] == "no-tissue"
    assert "in the regions" in result["warnings"][-1]["words"]
    assert result["tissue"]["fraction"] == 0.0


def test_patches_of_other_regions_are_not_gone_on_from(slide: Path, tmp_path: Path) -> None:
    go(job(slide, tmp_path, rectangles((100, 100, 300, 300))), SmallPatches())
    files = go(job(slide, tmp_path, rectangles((200, 200, 300, 300))), SmallPatches())

    labels = tifffile.imread(files.labels)
    assert labels[100:250, 100:250].all()
    assert np.count_nonzero(labels) == 150 * 150


def test_patches_of_another_tissue_mask_are_not_gone_on_from(slide: Path, tmp_path: Path) -> None:
    one, other = rectangles((100, 100, 300, 300)), rectangles((200, 200, 300, 300))
    go(job(slide, tmp_path, None, own_tissue=one, tissue=False), SmallPatches())
    files = go(job(slide, tmp_path, None, own_tissue=other, tissue=False), SmallPatches())
    assert np.count_nonzero(tifffile.imread(files.labels)) == 150 * 150
    files = go(job(slide, tmp_path, one, tissue=False), SmallPatches())
    assert tifffile.imread(files.labels)[50:200, 50:200].all()


def test_regions_off_the_slide_fail_the_job(slide: Path, tmp_path: Path) -> None:
    with pytest.raises(RegionsInvalidError, match=r"outside of the slide, which is 3000 x 2400 px large"):
        go(job(slide, tmp_path, rectangles((4000, 100, 300, 300))), SmallPatches())


def outlines(files: JobFiles) -> shapely.MultiPolygon:
    collection = json.loads((files.directory / "tissue.geojson").read_text())
    shapes = [shapely.geometry.shape(feature["geometry"]) for feature in collection["features"]]
    assert all(shape.is_valid and shape.geom_type == "Polygon" for shape in shapes)
    assert all(
        feature["properties"]["measurements"]["area_um2"] == pytest.approx(shape.area * 0.25, rel=1e-3)
        for feature, shape in zip(collection["features"], shapes, strict=True)
    )
    return shapely.MultiPolygon(shapes)


def test_outlines_of_tissue_are_an_output(slide: Path, tmp_path: Path) -> None:
    files = go(job(slide, tmp_path, None, outputs=("tissue.geojson",)), SmallPatches())

    outline = outlines(files)
    assert "tissue.geojson" in json.loads(files.result.read_text())["files"]
    labelled = np.count_nonzero(tifffile.imread(files.labels)) * 4
    assert outline.area == pytest.approx(labelled, rel=0.01)
    assert shapely.box(0, 0, 2400, 2400).difference(outline).area < 100
    first = (files.directory / "tissue.geojson").read_bytes()
    again = go(job(slide, tmp_path / "again", None, outputs=("tissue.geojson",)), SmallPatches())
    assert (again.directory / "tissue.geojson").read_bytes() == first


def test_outlines_end_with_the_regions(slide: Path, tmp_path: Path) -> None:
    triangle = shapely.Polygon([(100, 200), (2900, 400), (900, 2100)])
    run = job(slide, tmp_path, json.loads(shapely.to_geojson(triangle)), outputs=("tissue.geojson",))

    outline = outlines(go(run, SmallPatches()))

    assert outline.difference(triangle).area < 50
    assert triangle.intersection(shapely.box(0, 0, 2400, 2400)).difference(outline).area < 50
