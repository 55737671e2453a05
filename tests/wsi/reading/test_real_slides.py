"""Files from the wild, where they lie beside the checkout."""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import BROKEN_SLIDES
from wsi.errors import SlideUnreadableError, WsiError
from wsi.geometry import Rect
from wsi.reading.inspect import inspect_slide
from wsi.reading.slide import open_slide


@pytest.mark.parametrize("name", BROKEN_SLIDES)
def test_broken_files_give_a_clear_error_at_the_latest_when_read(real_slides: Path, name: str) -> None:
    def read_all() -> None:
        path = real_slides / "broken" / name
        inspect_slide(path)
        with open_slide(path) as slide:
            slide.read_region(Rect.of(slide.info.size), 1)

    with pytest.raises(WsiError, match=r"(?i)send|export"):
        read_all()


@pytest.mark.parametrize(
    ("name", "vendor", "reader", "mpp", "source"),
    [
        ("slides/CMU-1-Small-Region.svs", "aperio", "tiff", 0.499, "vendor"),
        ("slides/test3-DAPI-2-387.ndpi", "hamamatsu", "openslide", 0.228175, "vendor"),
        ("slides/cytomine_dicom_wsi", "dicom", "openslide", 0.499, "vendor"),
        ("slides/empaia_CMU-1-small.tiff", "generic-tiff", "tiff", 3.194888, "tiff-resolution"),
        ("slides/panimg_no_dzi.tif", "generic-tiff", "openslide", 0.97237, "tiff-resolution"),
        ("broken/mpp_negative.svs", "aperio", "tiff", 0.5, "objective-power"),
        ("broken/no_mpp.svs", "aperio", "tiff", 0.5, "objective-power"),
    ],
)
def test_format_and_pixel_size(
    real_slides: Path, name: str, vendor: str, reader: str, mpp: float, source: str
) -> None:
    info = inspect_slide(real_slides / name)

    assert (info.vendor, info.reader) == (vendor, reader)
    assert info.mpp is not None
    assert info.mpp.value == pytest.approx(mpp, rel=1e-5)
    assert info.mpp.source == source


def test_a_slide_without_any_pixel_size_says_so(real_slides: Path) -> None:
    assert inspect_slide(real_slides / "slides" / "slaid_test.tif").mpp is None


def test_bounds_do_not_shift_the_frame(real_slides: Path) -> None:
    with open_slide(real_slides / "slides" / "panimg_no_dzi.tif") as slide:
        assert slide.info.bounds == Rect(0, 512, 3072, 3456)
        assert (slide.info.size.width, slide.info.size.height) == (3072, 3968)


def test_svs_and_its_dicom_copy_agree(real_slides: Path) -> None:
    with (
        open_slide(real_slides / "slides" / "CMU-1-Small-Region.svs") as svs,
        open_slide(real_slides / "slides" / "cytomine_dicom_wsi") as dicom,
    ):
        assert svs.info.size == dicom.info.size
        region = Rect(-20, 100, 2048, 2048)
        difference = np.abs(svs.read_region(region, 4).astype(int) - dicom.read_region(region, 4))

    # The copy was compressed once more: averaged over 4 x 4 px that leaves about one grey value.
    assert difference.mean() < 2


def test_a_dicom_series_without_its_volume_is_refused(real_slides: Path, tmp_path: Path) -> None:
    files = sorted(
        (real_slides / "slides" / "cytomine_dicom_wsi").iterdir(), key=lambda file: file.stat().st_size
    )
    (tmp_path / "label.dcm").symlink_to(files[0])

    with pytest.raises(SlideUnreadableError, match="DICOM"):
        open_slide(tmp_path)
