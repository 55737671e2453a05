"""Damaged DICOM slides: each is an unreadable slide, whatever becomes of the process that looks at it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.dicom_slide import write_dicom_slide
from wsi.errors import SlideLimitError, SlideUnreadableError
from wsi.geometry import Size
from wsi.reading.inspect import inspect_slide

from ..damaged_dicom import DAMAGES, cut_short


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """A slide of 12 frames, one file in a folder."""
    pixels = np.random.default_rng(0).integers(100, 200, (600, 800, 3), np.uint8)
    return write_dicom_slide(tmp_path / "slide", pixels, 0.5)


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_is_an_unreadable_slide(slide: Path, how: str) -> None:
    assert inspect_slide(slide).size == Size(800, 600)
    DAMAGES[how](slide / "level-0.dcm")
    with pytest.raises((SlideUnreadableError, SlideLimitError)) as refused:
        inspect_slide(slide)
    assert str(slide.parent) not in str(refused.value), "where it lies is nobody's business"


def test_a_damaged_file_of_a_real_series(real_slides: Path, tmp_path: Path) -> None:
    series = shutil.copytree(real_slides / "slides" / "cytomine_dicom_wsi", tmp_path / "series")
    assert inspect_slide(series).vendor == "dicom"
    largest = max(series.iterdir(), key=lambda path: path.stat().st_size)
    largest.chmod(0o600)
    cut_short(largest)
    with pytest.raises(SlideUnreadableError):
        inspect_slide(series)
