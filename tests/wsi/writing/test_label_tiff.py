"""Label TIFFs read back, whoever wrote them."""

import json
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import pyvips
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi.errors import LabelTiffError
from wsi.geometry import Rect, Size
from wsi.grid import InputGeometry, make_grid
from wsi.palette import LabelClass, Palette
from wsi.writing.label_tiff import LabelTiff
from wsi.writing.pyramid import write_label_pyramids
from wsi.writing.tile_codec import encode_tile

WIDTH, HEIGHT = 1300, 1100
PALETTE = Palette((LabelClass(1, "normal", (0, 0, 0)), LabelClass(2, "odd", (255, 0, 0))))
Labels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def labels() -> Labels:
    """Blocks of 30 px, classes 0..4."""
    coarse = np.random.default_rng(3).integers(0, 5, (HEIGHT // 30 + 1, WIDTH // 30 + 1), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(30, 0).repeat(30, 1)[:HEIGHT, :WIDTH])


class ArrayTiles:
    """A TileSource over an array."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels

    def encoded_tile(self, column: int, row: int) -> bytes:
        tile = np.zeros((512, 512), np.uint8)
        part = self._labels[row * 512 : (row + 1) * 512, column * 512 : (column + 1) * 512]
        tile[: part.shape[0], : part.shape[1]] = part
        return encode_tile(tile)


def as_served(folder: Path, labels: Labels) -> Path:
    """The service's own pair; returns labels.tif."""
    geometry = InputGeometry(mpp=0.934, context_ratio=5, slices_per_side=5, halo_px=64)
    grid = make_grid(Size(2 * WIDTH, 2 * HEIGHT), 0.467, geometry)
    pair = {"labels": folder / "labels.tif", "overlay": folder / "overlay.tif"}
    write_label_pyramids(ArrayTiles(labels), grid, PALETTE, {"note": "xml µ"}, **pair)
    return pair["labels"]


def by_vips(**options: object) -> Callable[[Path, Labels], Path]:
    def write(folder: Path, labels: Labels) -> Path:
        image = pyvips.Image.new_from_memory(labels.tobytes(), WIDTH, HEIGHT, 1, "uchar")
        image.tiffsave(str(folder / "vips.tif"), **options)
        return folder / "vips.tif"

    return write


def by_tifffile(**options: object) -> Callable[[Path, Labels], Path]:
    def write(folder: Path, labels: Labels) -> Path:
        tifffile.imwrite(folder / "t.tif", labels, photometric="minisblack", **options)
        return folder / "t.tif"

    return write


WRITERS = {
    "served": as_served,
    "overlay": lambda folder, labels: as_served(folder, labels).with_name("overlay.tif"),
    "vips tiles": by_vips(tile=True, tile_width=256, tile_height=128, pyramid=True, compression="deflate"),
    "vips strips": by_vips(compression="none"),
    "packbits": by_vips(compression="packbits", tile=True, predictor="none"),
    "one strip": by_tifffile(),
    "strips of 100": by_tifffile(rowsperstrip=100, compression="deflate"),
    "predictor": by_tifffile(tile=(64, 64), compression="deflate", predictor=True),
}


@pytest.fixture(scope="module", params=WRITERS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, labels: Labels) -> Path:
    return WRITERS[request.param](tmp_path_factory.mktemp("labels"), labels)


rects = st.builds(
    Rect, st.integers(-300, 1500), st.integers(-300, 1300), st.integers(0, 900), st.integers(0, 900)
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rect=rects)
def test_any_rectangle_comes_back_exactly_with_zeros_outside(
    written: Path, labels: Labels, rect: Rect
) -> None:
    margin = 1500
    padded = np.pad(labels, margin)
    with LabelTiff(written) as file:
        assert file.size == Size(WIDTH, HEIGHT)
        got = file.read(rect)
    left, top = rect.x + margin, rect.y + margin
    np.testing.assert_array_equal(got, padded[top : top + rect.height, left : left + rect.width])


def test_bands_are_the_whole_map(written: Path, labels: Labels) -> None:
    with LabelTiff(written) as file:
        bands = list(file.bands())
    assert [rect.y for rect, _ in bands] == [0, *(rect.bottom for rect, _ in bands[:-1])]
    np.testing.assert_array_equal(np.concatenate([band for _, band in bands]), labels)


@pytest.mark.parametrize("side_px", [1, 7, 200, 513, 1300, 5000])
def test_an_overview_is_the_map_made_small(written: Path, labels: Labels, side_px: int) -> None:
    with LabelTiff(written) as file:
        overview = file.overview(side_px)
    assert max(overview.shape) <= side_px
    assert max(overview.shape) >= min(side_px, WIDTH) / 2
    if side_px >= 200:
        assert overview.shape[1] / overview.shape[0] == pytest.approx(WIDTH / HEIGHT, rel=0.02)
        rows, columns = (
            ((np.arange(n) + 0.5) / n * whole).astype(int)
            for n, whole in zip(overview.shape, (HEIGHT, WIDTH), strict=True)
        )
        assert (overview == labels[np.ix_(rows, columns)]).mean() > 0.85


def test_levels_and_description_of_a_served_file(labels: Labels, tmp_path: Path) -> None:
    with LabelTiff(as_served(tmp_path, labels)) as file:
        assert file.sizes == (Size(1300, 1100), Size(650, 550), Size(325, 275))
        assert file.description == {"note": "xml µ"}
        level = tifffile.imread(tmp_path / "labels.tif", key=1)
        np.testing.assert_array_equal(file.read(Rect(100, 50, 700, 20), 1)[:, :550], level[50:70, 100:])


@pytest.mark.parametrize("text", [None, "not JSON", json.dumps([1])])
def test_a_file_that_says_nothing_of_itself(text: str | None, labels: Labels, tmp_path: Path) -> None:
    with LabelTiff(by_tifffile(description=text, metadata=None)(tmp_path, labels)) as file:
        assert file.description == {}


def test_sparse_tiles_are_zeros(labels: Labels, tmp_path: Path) -> None:
    holed = labels.copy()
    holed[512:1024, 512:1024] = 0
    tiles = (
        None
        if (y, x) == (512, 512)
        else np.pad(t := holed[y : y + 512, x : x + 512], [(0, 512 - s) for s in t.shape])
        for y in range(0, HEIGHT, 512)
        for x in range(0, WIDTH, 512)
    )
    options = {"shape": holed.shape, "dtype": np.uint8, "tile": (512, 512), "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "sparse.tif", tiles, **options)
    with LabelTiff(tmp_path / "sparse.tif") as file:
        np.testing.assert_array_equal(file.read(Rect.of(file.size)), holed)


def test_threads_may_share_one(written: Path, labels: Labels) -> None:
    squares = [Rect(37 * k % 1000, 91 * k % 800, 300, 300) for k in range(40)]
    with LabelTiff(written) as file, ThreadPoolExecutor(4) as pool:
        for rect, got in zip(squares, pool.map(file.read, squares), strict=True):
            np.testing.assert_array_equal(got, labels[rect.y : rect.bottom, rect.x : rect.right])


def test_no_flipped_bit_becomes_a_label(labels: Labels, tmp_path: Path) -> None:
    path = as_served(tmp_path, labels)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        tiles = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    whole, draw = path.read_bytes(), random.Random(5)
    for _ in range(30):
        offset, length = draw.choice(tiles)
        data = bytearray(whole)
        data[offset + draw.randrange(length)] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        with (
            LabelTiff(path) as file,
            pytest.raises(LabelTiffError, match=r"labels\.tif is damaged .* Download"),
        ):
            file.read(Rect.of(file.size))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_file_cut_short_is_told(share: float, labels: Labels, tmp_path: Path) -> None:
    path = by_tifffile(tile=(256, 256))(tmp_path, labels)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with LabelTiff(path) as file, pytest.raises(LabelTiffError, match="damaged"):
        list(file.bands())


@pytest.mark.parametrize("content", [None, b"nonsense", b"II*\0\xff\xff\0\0", b""])
def test_what_is_no_tiff_is_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "labels.tif").write_bytes(content)
    with pytest.raises(LabelTiffError, match=r"labels\.tif"):
        LabelTiff(tmp_path / "labels.tif")


@pytest.mark.parametrize(
    ("pixels", "photometric", "told"),
    [
        (np.zeros((64, 64, 3), np.uint8), "rgb", r"3 channel\(s\) of uint8 \(RGB\)"),
        (np.zeros((64, 64), np.uint16), "minisblack", r"1 channel\(s\) of uint16"),
        (np.zeros((64, 64), np.uint8), "miniswhite", "MINISWHITE"),
    ],
)
def test_what_is_no_label_map_is_refused(
    pixels: NDArray[np.generic], photometric: str, told: str, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "other.tif", pixels, photometric=photometric)
    with pytest.raises(LabelTiffError, match=rf"other\.tif has .*{told}.* Give labels\.tif"):
        LabelTiff(tmp_path / "other.tif")


def test_a_compression_that_is_not_read_is_named(
    labels: Labels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = by_vips(compression="lzw", tile=True)(tmp_path, labels)
    monkeypatch.setattr(tifffile.TIFF, "DECOMPRESSORS", {})  # imagecodecs, where it is installed, reads all
    with pytest.raises(LabelTiffError, match="LZW compression: install imagecodecs"):
        LabelTiff(path)
