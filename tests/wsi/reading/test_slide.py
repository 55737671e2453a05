"""Slides in: known pixels back, both readers alike, and clear errors for what is no slide."""

import ctypes
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from numpy.typing import NDArray

from wsi.errors import MppOutOfRangeError, SlideLimitError, SlideUnreadableError
from wsi.geometry import Rect, Size
from wsi.reading.levels import PyramidSlide, level_downsamples
from wsi.reading.mpp import Mpp
from wsi.reading.openslide_reader import OpenSlideLevels
from wsi.reading.slide import open_slide
from wsi.reading.tiff_header import MAX_PAGES, check_slide_size


def box_mean(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.float64]:
    rows, columns = pixels.shape[0] // factor, pixels.shape[1] // factor
    cut = pixels[: rows * factor, : columns * factor].astype(float)
    return cut.reshape(rows, factor, columns, factor, 3).mean(axis=(1, 3))


def through_openslide(path: Path) -> PyramidSlide:
    with open_slide(path) as slide:
        return PyramidSlide(slide.info, OpenSlideLevels(path, openslide.OpenSlide(path)))


def test_facts_of_a_generic_tiff(write_slide, scene) -> None:
    with open_slide(write_slide(scene)) as slide:
        info = slide.info

    assert (info.vendor, info.reader, info.size) == ("generic-tiff", "tiff", Size(1500, 1100))
    assert info.level_downsamples == (1.0, 2.0, 4.0, 8.0)
    assert info.mpp is not None
    assert info.mpp.value == pytest.approx(0.5)
    assert info.mpp.source == "tiff-resolution"
    assert info.bounds == Rect(0, 0, 1500, 1100)
    assert type(info).from_json(info.to_json()) == info


def test_full_resolution_gives_the_pixels_that_were_written(write_slide, scene) -> None:
    with open_slide(write_slide(scene)) as slide:
        pixels = slide.read_region(Rect(130, 250, 700, 600), 1)

    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - scene[250:850, 130:830]).mean() < 2


@pytest.mark.parametrize("downsample", [2, 3, 4, 5, 8, 32])
@pytest.mark.parametrize("pyramid", [True, False])
def test_down_sampling_is_an_average(write_slide, scene, downsample: int, pyramid: bool) -> None:
    side = 480
    with open_slide(write_slide(scene, pyramid=pyramid)) as slide:
        pixels = slide.read_region(Rect(96, 160, side, side), downsample)

    expected = box_mean(scene[160 : 160 + side, 96 : 96 + side], downsample)
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).mean() < 2


@pytest.mark.parametrize("compression", ["jpeg", "lzw", "deflate", "none"])
@pytest.mark.parametrize(
    ("region", "downsample"),
    [
        (Rect(0, 0, 1500, 1100), 1),
        (Rect(301, 99, 800, 640), 2),
        (Rect(-100, -60, 400, 400), 4),
        (Rect(1301, 901, 600, 600), 3),
        (Rect(-64, 0, 1920, 1280), 64),
    ],
)
def test_both_readers_give_the_same_pixels(
    write_slide, scene, compression: str, region: Rect, downsample: int
) -> None:
    path = write_slide(scene, compression=compression)

    with open_slide(path) as slide, through_openslide(path) as reference:
        difference = np.abs(
            slide.read_region(region, downsample).astype(int) - reference.read_region(region, downsample)
        )
    assert difference.max() <= 1


@pytest.mark.parametrize("quality", [75, 95])  # libvips writes YCbCr 4:2:0 below 90, RGB from there on
def test_chroma_subsampling_is_decoded_as_openslide_does(write_slide, quality: int) -> None:
    noise = np.random.default_rng(3).integers(0, 255, (600, 600, 3), dtype=np.uint8)
    path = write_slide(noise, Q=quality)

    with open_slide(path) as slide, through_openslide(path) as reference:
        assert slide.info.reader == "tiff"
        assert (
            slide.read_region(Rect(3, 5, 500, 500), 1) == reference.read_region(Rect(3, 5, 500, 500), 1)
        ).all()


@pytest.mark.parametrize("quality", [75, 95])
@pytest.mark.parametrize("downsample", [2, 4, 6, 8, 16])
def test_scaled_decoding_is_nearly_the_mean(write_slide, scene, quality: int, downsample: int) -> None:
    path = write_slide(scene, Q=quality, pyramid=False)
    region = Rect(96, 192, 768, 768)

    with open_slide(path) as slide, through_openslide(path) as reference:
        fast, mean = (one.read_region(region, downsample).astype(int) for one in (slide, reference))
    assert np.abs(fast - mean).mean() < 0.5
    assert np.abs(fast - mean).max() <= 12


@pytest.mark.parametrize("downsample", [2, 4, 8])
def test_a_reduced_pixel_does_not_depend_on_the_region_it_is_read_with(
    write_slide, scene, downsample: int
) -> None:
    odd = scene[:1093, :1487]  # of no multiple of 2 on either side
    with open_slide(write_slide(odd, pyramid=False)) as slide:
        whole = slide.read_region(Rect(0, 0, 1504, 1104), downsample)
        for region in (Rect(1200, 800, 400, 400), Rect(-80, 800, 400, 400), Rect(400, -80, 240, 240)):
            inside = region.intersect(Rect(0, 0, 1504, 1104))
            part = _cut(slide.read_region(region, downsample), region, inside, downsample)
            assert (part == _cut(whole, Rect(0, 0, 1504, 1104), inside, downsample)).all()


def _cut(pixels: NDArray[np.uint8], frame: Rect, part: Rect, downsample: int) -> NDArray[np.uint8]:
    x, y = (part.x - frame.x) // downsample, (part.y - frame.y) // downsample
    return pixels[y : y + part.height // downsample, x : x + part.width // downsample]


def test_outside_is_white(write_slide, scene) -> None:
    with open_slide(write_slide(scene)) as slide:
        apart = slide.read_region(Rect(-500, 4000, 64, 64), 2)
        corner = slide.read_region(Rect(-64, -64, 128, 128), 2)

    assert (apart == 255).all()
    assert (corner[:32] == 255).all()
    assert (corner[:, :32] == 255).all()
    assert np.abs(corner[32:, 32:] - box_mean(scene[:64, :64], 2)).mean() < 3


def test_region_sides_must_be_multiples_of_the_downsample(write_slide, scene) -> None:
    with open_slide(write_slide(scene)) as slide, pytest.raises(ValueError, match="multiples"):
        slide.read_region(Rect(0, 0, 101, 100), 2)


def test_a_level_up_to_ten_percent_too_coarse_is_read(scene) -> None:
    class Levels:
        sizes = (Size(1500, 1100), Size(1428, 1048))
        asked: list[int]

        def __init__(self) -> None:
            self.asked = []

        def read(self, level: int, rect: Rect, reduce: int) -> NDArray[np.uint8]:
            self.asked.append(level)
            return np.full((rect.height // reduce, rect.width // reduce, 3), 9, np.uint8)

        def close(self) -> None: ...

    levels = Levels()
    info = _info(levels.sizes)
    slide = PyramidSlide(info, levels)

    pixels = slide.read_region(Rect(0, 0, 1000, 1000), 1)

    assert levels.asked == [1]
    assert pixels.shape == (1000, 1000, 3)
    assert (pixels == 9).all()


def _info(sizes: tuple[Size, ...]):
    from wsi.reading.slide_info import SlideInfo

    return SlideInfo("x", "tiff", sizes[0], level_downsamples(sizes), None, None, Rect.of(sizes[0]))


@pytest.mark.parametrize(
    ("coarse", "expected"),
    [
        (Size(11_500, 8228), 4.0),
        (Size(11_501, 8229), 4.0),
        (Size(11_400, 8160), pytest.approx(4.0343, abs=1e-3)),
    ],
)
def test_truncated_levels_are_whole_fold(coarse: Size, expected: float) -> None:
    assert level_downsamples((Size(46_001, 32_914), coarse))[1] == expected


def test_large_regions_are_read_block_by_block(write_slide, scene, monkeypatch) -> None:
    path = write_slide(scene, pyramid=False)
    with open_slide(path) as slide:
        whole = slide.read_region(Rect(-40, -40, 1600, 1200), 8)
        monkeypatch.setattr("wsi.reading.levels.MAX_BLOCK_PX", 200 * 200)
        blocks = slide.read_region(Rect(-40, -40, 1600, 1200), 8)

    assert (whole == blocks).all()


def test_threads_get_the_same_pixels(write_slide, scene) -> None:
    regions = [Rect(x, y, 400, 400) for x in range(0, 1200, 100) for y in range(0, 800, 200)]
    with open_slide(write_slide(scene)) as slide, ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda region: slide.read_region(region, 2), regions))
        alone = [slide.read_region(region, 2) for region in regions]

    assert all((a == b).all() for a, b in zip(together, alone, strict=True))


def test_request_overrules_the_file_and_nonsense_is_refused(write_slide, scene) -> None:
    path = write_slide(scene)

    with open_slide(path, mpp=0.3) as slide:
        assert slide.info.mpp == Mpp(0.3, "request")
    with pytest.raises(MppOutOfRangeError):
        open_slide(path, mpp=-1)


def test_default_resolution_is_not_believed(write_slide, scene) -> None:
    with open_slide(write_slide(scene, mpp=None)) as slide:
        assert slide.info.mpp is None


def test_zero_byte_tiles_go_through_openslide_as_white(write_slide, scene) -> None:
    path = write_slide(scene, pyramid=False)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        counts = list(tiff.pages[0].databytecounts)
        tiff.pages[0].tags["TileByteCounts"].overwrite([0, *counts[1:]])

    with open_slide(path) as slide:
        assert slide.info.reader == "openslide"
        assert (slide.read_region(Rect(0, 0, 256, 256), 1) == 255).all()


@pytest.mark.parametrize("grey", [False, True])
def test_a_small_tiff_without_tiles_is_read(tmp_path: Path, scene, grey: bool) -> None:
    pixels = scene[..., 0] if grey else scene
    path = tmp_path / "plain.tif"
    tifffile.imwrite(
        path, pixels, resolution=(20_000, 20_000), resolutionunit="CENTIMETER", compression="zlib"
    )

    with open_slide(path) as slide:
        assert (slide.info.vendor, slide.info.reader) == ("plain-tiff", "tiff")
        assert slide.info.mpp == Mpp(0.5, "tiff-resolution")
        read = slide.read_region(Rect(0, 0, 1500, 1100), 1)
    assert (read == (pixels[..., None] if grey else pixels)).all()


@pytest.mark.parametrize(
    ("pixels", "options", "error", "message"),
    [
        (np.zeros((64, 64), np.uint16), {}, SlideUnreadableError, "8-bit"),
        (
            np.zeros((64, 64, 3), np.uint8),
            {"description": "Aperio Image Library"},
            SlideUnreadableError,
            "convert",
        ),
        (
            np.zeros((64, 64, 3), np.uint8),
            {"description": "<?xml version='1.0'?><OME/>"},
            SlideUnreadableError,
            "convert",
        ),
    ],
)
def test_other_tiffs_are_refused_with_what_to_send(
    tmp_path: Path, pixels, options, error, message: str
) -> None:
    path = tmp_path / "other.tif"
    tifffile.imwrite(path, pixels, metadata=None, **options)

    with pytest.raises(error, match=message):
        open_slide(path)


@pytest.mark.parametrize("compression", ["zlib", None])
def test_tiles_of_16_bits_are_refused(tmp_path: Path, scene, compression: str | None) -> None:
    path = tmp_path / "deep.tif"
    tifffile.imwrite(path, scene.astype(np.uint16) * 257, tile=(256, 256), compression=compression)
    with pytest.raises(SlideUnreadableError, match=r"3 x 16 bit.* Send 8-bit"):
        open_slide(path)


def test_the_pixel_size_of_an_ome_tiff_is_believed_before_its_resolution_tags(tmp_path: Path, scene) -> None:
    path = tmp_path / "slide.ome.tif"
    tifffile.imwrite(
        path,
        scene,
        ome=True,
        tile=(256, 256),
        compression="zlib",
        resolution=(10_000, 10_000),
        resolutionunit="CENTIMETER",
        metadata={"axes": "YXS", "PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.25},
    )
    with open_slide(path) as slide:
        assert slide.info.mpp == Mpp(0.25, "ome-xml")


def overwrite(path: Path, **tags: object) -> Path:
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for name, value in tags.items():
            tiff.pages[0].tags[name].overwrite(value)
    return path


@pytest.mark.parametrize(
    ("tags", "error"),
    [
        ({"TileWidth": 65_520}, SlideLimitError),
        ({"TileLength": 65_520, "TileWidth": 65_520}, SlideLimitError),
        ({"ImageWidth": 60_000, "ImageLength": 60_000}, SlideLimitError),
        ({"ImageWidth": 3000}, SlideUnreadableError),
        ({"ImageWidth": 0}, SlideUnreadableError),
    ],
)
def test_absurd_headers_are_refused_before_any_decoder_sees_them(write_slide, scene, tags, error) -> None:
    path = overwrite(write_slide(scene, pyramid=False), **tags)

    with pytest.raises(error):
        open_slide(path)


def test_more_pixels_than_any_slide_has_are_refused() -> None:
    check_slide_size(Size(300_000, 300_000), "large.svs")
    for size in (Size(1_000_001, 10), Size(400_000, 400_000)):
        with pytest.raises(SlideLimitError, match="limit"):
            check_slide_size(size, "bomb.svs")


def test_a_file_cut_short_is_refused(tmp_path: Path, scene) -> None:
    path = tmp_path / "cut.tif"
    tifffile.imwrite(path, scene, tile=(256, 256), photometric="rgb")
    path.write_bytes(path.read_bytes()[:-1000])

    with pytest.raises(SlideUnreadableError):
        open_slide(path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"II*\0", b"II*\0\x08\0\0\0\xff\xff", b"\x89PNG\r\n\x1a\n" + bytes(500)]
)
def test_what_is_no_slide_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "slide.svs"
    path.write_bytes(content)

    with pytest.raises(SlideUnreadableError, match="Send"):
        open_slide(path)


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SlideUnreadableError, match="does not exist"):
        open_slide(tmp_path / "none.svs")


def test_a_folder_with_one_slide_is_that_slide(write_slide, scene, tmp_path: Path) -> None:
    path = write_slide(scene)
    (tmp_path / "notes.txt").write_text("hello")

    with open_slide(tmp_path) as slide:
        assert slide.info.size == Size(1500, 1100)
    shutil.copy(path, tmp_path / "second.tif")
    with pytest.raises(SlideUnreadableError, match="exactly one"):
        open_slide(tmp_path)


@pytest.mark.parametrize("compression", ["jpeg", "lzw"])
def test_a_closed_slide_reads_nothing_more(write_slide, scene, compression: str) -> None:
    slide = open_slide(write_slide(scene, compression=compression))
    slide.close()

    with pytest.raises((SlideUnreadableError, ctypes.ArgumentError)):
        slide.read_region(Rect(0, 0, 64, 64), 1)


def test_a_large_tiff_without_tiles_is_told_to_be_converted(tmp_path: Path, scene, monkeypatch) -> None:
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, scene)
    monkeypatch.setattr("wsi.reading.slide.MAX_PLAIN_PX", 1500 * 1100)
    open_slide(path).close()
    monkeypatch.setattr("wsi.reading.slide.MAX_PLAIN_PX", 1500 * 1100 - 1)

    with pytest.raises(SlideLimitError, match=r"1500 x 1100 px and is no tiled pyramid.*vips tiffsave"):
        open_slide(path)


def test_a_file_of_endless_pages_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pages.tif"
    tifffile.imwrite(path, np.zeros((MAX_PAGES + 1, 16, 16, 3), np.uint8), photometric="rgb", metadata=None)

    with pytest.raises(SlideLimitError, match="more than 512 pages"):
        open_slide(path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SlideUnreadableError, match="none"):
        open_slide(tmp_path)
