"""Slides with bad tiles: an error for those pixels, and the others stay readable."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openslide
import pytest
import simplejpeg
import tifffile

from wsi.errors import SlideUnreadableError
from wsi.geometry import Rect
from wsi.reading.openslide_reader import OpenSlideLevels
from wsi.reading.slide import open_slide


@pytest.mark.parametrize(
    ("compression", "downsample"), [("jpeg", 1), ("jpeg", 2), ("jpeg", 8), ("deflate", 1), ("lzw", 1)]
)
def test_a_damaged_tile_is_an_error_and_the_rest_stays_readable(
    write_slide, scene, compression: str, downsample: int
) -> None:
    path = write_slide(scene, compression=compression, pyramid=False)
    with tifffile.TiffFile(path) as tiff:
        offset, length = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    data = bytearray(path.read_bytes())
    data[offset + length // 2 : offset + length] = bytes(length - length // 2)
    path.write_bytes(data)

    with open_slide(path) as slide:
        for _ in range(2):
            with pytest.raises(SlideUnreadableError, match="cannot be decoded"):
                slide.read_region(Rect(0, 0, 600, 600), downsample)
            good = slide.read_region(Rect(512, 512, 256, 256), 1)
            assert np.abs(good.astype(int) - scene[512:768, 512:768]).mean() < 2


@pytest.mark.parametrize("side", [128, 512])
@pytest.mark.parametrize("downsample", [1, 2])
def test_a_tile_of_another_size_is_an_error(write_slide, scene, side: int, downsample: int) -> None:
    path = write_slide(scene, pyramid=False)
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(scene[:side, :side]), quality=5)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        page = tiff.pages[0]
        offset, length = page.dataoffsets[1], page.databytecounts[1]
        assert len(data) <= length
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data + bytes(length - len(data)))

    with open_slide(path) as slide:
        assert slide.info.reader == "tiff"
        good = slide.read_region(Rect(0, 0, 256, 256), downsample)
        expected = scene[:256, :256].reshape(256 // downsample, downsample, 256 // downsample, downsample, 3)
        assert np.abs(good - expected.mean(axis=(1, 3))).mean() < 2
        with pytest.raises(SlideUnreadableError, match="another size"):
            slide.read_region(Rect(0, 0, 512, 256), downsample)


@pytest.fixture
def half_bad(write_slide, scene) -> Path:
    """A slide whose upper left tile holds no JPEG."""
    path = write_slide(scene)
    with tifffile.TiffFile(path) as tiff:
        offset, length = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    data = bytearray(path.read_bytes())
    data[offset : offset + length] = bytes(length)
    path.write_bytes(data)
    return path


BAD, GOOD = Rect(0, 0, 256, 256), Rect(512, 512, 256, 256)


def test_a_failure_that_latched_elsewhere_does_not_spoil_good_pixels(half_bad: Path, scene) -> None:
    handle = openslide.OpenSlide(half_bad)
    levels = OpenSlideLevels(half_bad, handle)
    with pytest.raises(openslide.OpenSlideError):  # as another thread does between fetching and reading
        handle.read_region((0, 0), 0, (256, 256))

    pixels = levels.read(0, GOOD, 1)

    assert np.abs(pixels.astype(int) - scene[512:768, 512:768]).mean() < 2
    with pytest.raises(SlideUnreadableError, match="cannot be decoded"):
        levels.read(0, BAD, 1)


def test_threads_on_good_pixels_do_not_notice_threads_on_bad_ones(half_bad: Path, scene) -> None:
    levels = OpenSlideLevels(half_bad, openslide.OpenSlide(half_bad))

    def outcome(rect: Rect) -> str:
        try:
            pixels = levels.read(0, rect, 1).astype(int)
        except SlideUnreadableError:
            return "unreadable"
        return "good" if np.abs(pixels - scene[512:768, 512:768]).mean() < 2 else "made up"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(outcome, [BAD, GOOD, GOOD, GOOD] * 60))

    assert outcomes == ["unreadable", "good", "good", "good"] * 60
