"""Segmentations, read by highdicom and pydicom."""

import io
import time
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from benchmarks.dicom_slide import write_dicom_slide
from wsi.errors import OutputUnavailableError
from wsi.geometry import Size
from wsi.grid import Grid, InputGeometry, make_grid
from wsi.palette import LabelClass, Palette
from wsi.reading.slide import open_slide
from wsi.writing.dicom_seg import SegmentationOrigin, segmentation_header, write_dicom_seg
from wsi.writing.pyramid import write_label_pyramids

from .test_label_tiff import ArrayTiles

PALETTE = Palette((LabelClass(1, "normal", (0, 0, 0)), LabelClass(2, "in situ", (0, 200, 10))))
ORIGIN = SegmentationOrigin("a-model", "3", "0" * 64, PALETTE, "darefine 0")
MPP = 0.25
GRID = make_grid(Size(2600, 1100), MPP, InputGeometry(0.5, 5, 5, 64))


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.full((1100, 2600, 3), (200, 150, 180), np.uint8)
    return write_dicom_slide(tmp_path_factory.mktemp("dicom") / "slide", pixels, MPP)


@pytest.fixture(scope="module")
def values() -> NDArray[np.uint8]:
    """Labels of two slide pixels a side."""
    values = np.zeros((GRID.label_size.height, GRID.label_size.width), np.uint8)
    values[100:400, 200:1200] = 1
    values[200:300, 700:900] = 2
    return values


@pytest.fixture(scope="module")
def labels(values: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`labels.tif` of them."""
    return write_labels(tmp_path_factory.mktemp("labels"), values, GRID)


def write_labels(folder: Path, values: NDArray[np.uint8], grid: Grid) -> Path:
    pair = {name: folder / f"{name}.tif" for name in ("labels", "overlay")}
    write_label_pyramids(ArrayTiles(values), grid, PALETTE, {}, **pair)
    return pair["labels"]


def test_the_slide_of_these_tests_is_one(slide: Path) -> None:
    with open_slide(slide) as opened:
        assert (opened.info.vendor, opened.info.size) == ("dicom", Size(2600, 1100))
        assert opened.info.mpp is not None
        assert opened.info.mpp.value == pytest.approx(MPP)


def test_it_holds_the_labels_in_the_slides_frame(
    slide: Path, labels: Path, values: NDArray[np.uint8], tmp_path: Path
) -> None:
    write_dicom_seg(slide / "level-0.dcm", labels, GRID, ORIGIN, tmp_path / "seg.dcm")
    found = highdicom.seg.segread(tmp_path / "seg.dcm")
    source = pydicom.dcmread(slide / "level-0.dcm", stop_before_pixels=True)
    assert found.segmentation_type.value == "LABELMAP"
    assert found.DimensionOrganizationType == "TILED_FULL"
    np.testing.assert_array_equal(found.get_total_pixel_matrix(combine_segments=True), values)
    assert [found.get_segment_description(n).segment_label for n in (1, 2)] == ["normal", "in situ"]
    assert found.StudyInstanceUID == source.StudyInstanceUID
    assert found.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert found.SeriesInstanceUID != source.SeriesInstanceUID
    (referenced,) = found.SourceImageSequence
    assert referenced.ReferencedSOPInstanceUID == source.SOPInstanceUID
    measures = found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert [float(one) for one in measures.PixelSpacing] == pytest.approx([0.0005, 0.0005])
    # Half a pixel of the slide further in: along the rows, which run to the left on the glass, and down.
    corner = found.TotalPixelMatrixOriginSequence[0]
    assert float(corner.XOffsetInSlideCoordinateSystem) == pytest.approx(20 - 0.000125, abs=1e-9)
    assert float(corner.YOffsetInSlideCoordinateSystem) == pytest.approx(10 + 0.000125, abs=1e-9)
    tables = (getattr(found, f"{one}PaletteColorLookupTableData") for one in ("Red", "Green", "Blue"))
    assert [table[2] for table in tables] == [0, 200, 10]
    profile = ImageCms.ImageCmsProfile(
        io.BytesIO(
            found.OpticalPathSequence[0].ICCProfile if "OpticalPathSequence" in found else found.ICCProfile
        )
    )
    sample = Image.new("RGB", (1, 1), (0, 200, 10))
    seen = ImageCms.profileToProfile(sample, profile, ImageCms.createProfile("sRGB"))
    assert seen is not None
    assert np.abs(np.array(seen.getpixel((0, 0))) - (0, 200, 10)).max() <= 1


def test_each_frame_is_found_by_its_offset(
    slide: Path, labels: Path, values: NDArray[np.uint8], tmp_path: Path
) -> None:
    write_dicom_seg(slide, labels, GRID, ORIGIN, tmp_path / "seg.dcm")
    frame = pydicom.pixels.pixel_array(tmp_path / "seg.dcm", index=4, raw=True)
    expected = np.zeros((512, 512), np.uint8)
    part = values[512:, 512:1024]
    expected[: part.shape[0]] = part
    np.testing.assert_array_equal(frame, expected)


def test_same_labels_same_bytes(slide: Path, labels: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_dicom_seg(slide, labels, GRID, ORIGIN, tmp_path / name)
        time.sleep(0.01)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    write_dicom_seg(slide, labels, GRID, replace(ORIGIN, version="4"), tmp_path / "three")
    uids = {pydicom.dcmread(tmp_path / name).SOPInstanceUID for name in ("one", "three")}
    assert len(uids) == 2


def test_a_slide_that_is_not_dicom_is_refused(labels: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputUnavailableError, match="no DICOM image"):
        write_dicom_seg(labels, labels, GRID, ORIGIN, tmp_path / "seg.dcm")
    assert not (tmp_path / "seg.dcm").exists()


def test_broken_and_foreign_files_beside_the_slide_are_passed_over(slide: Path, tmp_path: Path) -> None:
    good = (slide / "level-0.dcm").read_bytes()
    (tmp_path / "slide.dcm").write_bytes(good)
    (tmp_path / "a-notes.txt").write_text("no DICOM")
    (tmp_path / "b-cut.dcm").write_bytes(good[:300])
    (tmp_path / "c-noise.dcm").write_bytes(good[:140] + np.random.default_rng(0).bytes(4000))
    (tmp_path / "d-folder").mkdir()
    header = segmentation_header(tmp_path / "slide.dcm", GRID, ORIGIN)
    assert (header.TotalPixelMatrixColumns, header.TotalPixelMatrixRows) == (1300, 550)


def test_a_header_that_lacks_the_place_on_the_glass_is_refused(slide: Path, tmp_path: Path) -> None:
    header = pydicom.dcmread(slide / "level-0.dcm")
    del header.TotalPixelMatrixOriginSequence
    header.save_as(tmp_path / "level-0.dcm")
    with pytest.raises(OutputUnavailableError, match="TotalPixelMatrixOriginSequence"):
        segmentation_header(tmp_path, GRID, ORIGIN)


def test_a_real_slide(real_slides: Path, tmp_path: Path) -> None:
    grid = make_grid(Size(2220, 2967), 0.499, InputGeometry(0.5, 5, 5, 64))
    blocks = np.random.default_rng(0).integers(0, 3, (150, 112), np.uint8)
    values = blocks.repeat(20, 0).repeat(20, 1)[:2967, :2220]
    path = write_labels(tmp_path, values, grid)
    write_dicom_seg(real_slides / "slides" / "cytomine_dicom_wsi", path, grid, ORIGIN, tmp_path / "seg.dcm")
    found = highdicom.seg.segread(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(found.get_total_pixel_matrix(combine_segments=True), values)
