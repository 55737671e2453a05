"""The result files, as four readers see them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import openslide
import pytest
import pyvips
import tifffile
from numpy.typing import NDArray

from wsi.errors import PyramidError
from wsi.geometry import Size
from wsi.grid import TILE_PX, Grid, InputGeometry, make_grid
from wsi.palette import LabelClass, Palette
from wsi.writing.pyramid import PyramidSummary, level_sizes, write_label_pyramids
from wsi.writing.pyramid_check import verify_pyramid
from wsi.writing.tile_codec import decode_tile, encode_tile

PALETTE = Palette(
    (LabelClass(1, "normal", (0, 0, 0)), LabelClass(2, "benign", (255, 0, 0)), LabelClass(9, "x", (1, 2, 3)))
)
DESCRIPTION = {"software": "darefine 0.1.0", "slide": "sample.XML.xml.svs", "note": "µm"}
CARD = InputGeometry(mpp=0.934, context_ratio=5, slices_per_side=5, halo_px=64)


class ArrayTiles:
    """A TileSource over an array; blank tiles are None."""

    def __init__(self, labels: NDArray[np.uint8]) -> None:
        self.labels = labels
        self.touched: list[tuple[int, int]] = []

    def encoded_tile(self, column: int, row: int) -> bytes | None:
        self.touched.append((column, row))
        part = self.labels[row * TILE_PX : (row + 1) * TILE_PX, column * TILE_PX : (column + 1) * TILE_PX]
        tile = np.zeros((TILE_PX, TILE_PX), np.uint8)
        tile[: part.shape[0], : part.shape[1]] = part
        return encode_tile(tile) if tile.any() else None


def blobs(width: int, height: int) -> NDArray[np.uint8]:
    """Patches of classes 1, 2 and 9 with glass on the left."""
    rng = np.random.default_rng(width * 31 + height)
    coarse = rng.choice(np.array([0, 1, 2, 9], np.uint8), (height // 9 + 1, width // 9 + 1))
    labels = coarse.repeat(9, 0).repeat(9, 1)[:height, :width].copy()
    labels[:, : width // 3] = 0
    return labels


def grid_for(labels: NDArray[np.uint8]) -> Grid:
    grid = make_grid(Size(2 * labels.shape[1] + 1, 2 * labels.shape[0]), 0.467, CARD)
    assert grid.label_size == Size(labels.shape[1], labels.shape[0])
    return grid


def write(folder: Path, labels: NDArray[np.uint8], threads: int = 1) -> PyramidSummary:
    return write_label_pyramids(
        ArrayTiles(labels),
        grid_for(labels),
        PALETTE,
        DESCRIPTION,
        labels=folder / "labels.tif",
        overlay=folder / "overlay.tif",
        threads=threads,
    )


def stored_levels(path: Path) -> list[NDArray[np.uint8]]:
    with tifffile.TiffFile(path) as tiff:
        return [page.asarray() for page in tiff.pages]


@contextmanager
def first_page(path: Path) -> Iterator[tifffile.TiffPage]:
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        yield page


SHAPES = [(1, 1), (300, 200), (512, 512), (513, 512), (1025, 1023), (1700, 2600), (3, 1500)]


@pytest.mark.parametrize(("width", "height"), SHAPES)
def test_level_zero_is_bit_exact_and_no_level_invents_a_class(
    width: int, height: int, tmp_path: Path
) -> None:
    labels = blobs(width, height)

    summary = write(tmp_path, labels)

    for name in ("labels.tif", "overlay.tif"):
        levels = stored_levels(tmp_path / name)
        assert (levels[0] == labels).all()
        assert len(levels) == summary.levels
        for finer, coarser in pairwise(levels):
            assert coarser.shape == (finer.shape[0] // 2, finer.shape[1] // 2)
            rows, columns = coarser.shape
            blocks = (
                finer[: 2 * rows, : 2 * columns]
                .reshape(rows, 2, columns, 2)
                .swapaxes(1, 2)
                .reshape(rows, columns, 4)
            )
            assert (blocks == coarser[..., None]).any(axis=2).all()


def test_class_counts_are_level_zero_pixels(tmp_path: Path) -> None:
    labels = blobs(1100, 700)

    summary = write(tmp_path, labels)

    assert summary.class_counts == tuple(np.bincount(labels.reshape(-1), minlength=256).tolist())


def test_openslide_sees_every_level_at_the_right_mpp(tmp_path: Path) -> None:
    labels = blobs(1700, 2600)
    write(tmp_path, labels)

    for name, expected in (
        ("labels.tif", np.repeat(labels[..., None], 3, 2)),
        ("overlay.tif", PALETTE.lookup()[labels]),
    ):
        with openslide.OpenSlide(tmp_path / name) as slide:
            assert slide.level_dimensions == ((1700, 2600), (850, 1300), (425, 650), (212, 325))
            assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.934, rel=1e-6)
            pixels = np.asarray(slide.read_region((0, 0), 0, (1700, 2600)))
            assert (pixels[..., :3] == expected).all()
            reduced = np.asarray(slide.read_region((0, 0), 2, slide.level_dimensions[2]))[..., :3]
        levels = stored_levels(tmp_path / name)[2]
        colours = PALETTE.lookup()[levels] if name == "overlay.tif" else np.repeat(levels[..., None], 3, 2)
        assert (reduced == colours).all()


def test_libvips_reads_every_level_of_the_labels(tmp_path: Path) -> None:
    write(tmp_path, blobs(1700, 2600))

    for number, level in enumerate(stored_levels(tmp_path / "labels.tif")):
        image = pyvips.Image.tiffload(str(tmp_path / "labels.tif"), page=number)
        assert (image.numpy().reshape(level.shape) == level).all()


def test_both_files_hold_the_same_tile_bytes(tmp_path: Path) -> None:
    write(tmp_path, blobs(1100, 700))

    def tile_bytes(path: Path) -> list[list[bytes]]:
        data = path.read_bytes()
        with tifffile.TiffFile(path) as tiff:
            return [
                [data[o : o + n] for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
                for page in tiff.pages
            ]

    assert tile_bytes(tmp_path / "labels.tif") == tile_bytes(tmp_path / "overlay.tif")


def test_tags_are_those_the_readers_need(tmp_path: Path) -> None:
    write(tmp_path, blobs(1100, 700))

    for name, photometric in (("labels.tif", 1), ("overlay.tif", 3)):
        with tifffile.TiffFile(tmp_path / name) as tiff:
            assert tiff.is_bigtiff
            for level, page in enumerate(tiff.pages):
                assert isinstance(page, tifffile.TiffPage)
                assert (page.tilewidth, page.tilelength, int(page.compression)) == (512, 512, 8)
                assert int(page.photometric) == photometric
                assert page.tags.valueof("NewSubfileType", default=0) == int(level > 0)
                assert page.tags.valueof("ResolutionUnit") == 3
                parts, whole = page.tags.valueof("XResolution")
                assert parts / whole == pytest.approx(10_000 / (0.934 * 2**level), rel=1e-6)
                assert min(page.databytecounts) > 0
                assert "SubIFDs" not in page.tags
                assert "DateTime" not in page.tags


def test_description_is_ascii_json_without_the_letters_xml(tmp_path: Path) -> None:
    write(tmp_path, blobs(300, 200))

    with first_page(tmp_path / "overlay.tif") as page:
        assert page.description.isascii()
        assert "xml" not in page.description.lower()
        assert json.loads(page.description) == DESCRIPTION
        assert page.tags.valueof("Software") == "darefine 0.1.0"


def test_same_input_gives_same_bytes_whatever_the_threads(tmp_path: Path) -> None:
    for name, threads in (("a", 1), ("b", 4)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, blobs(3100, 2700), threads)

    for name in ("labels.tif", "overlay.tif"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_glass_is_nearly_free(tmp_path: Path) -> None:
    summary = write(tmp_path, np.zeros((5120, 5120), np.uint8))

    assert summary.class_counts[0] == 5120 * 5120
    assert (tmp_path / "labels.tif").stat().st_size < 300 * (100 + 25 + 9 + 4 + 1) + 10_000


def test_pixels_beyond_the_label_map_are_dropped(tmp_path: Path) -> None:
    class Overflowing(ArrayTiles):
        def encoded_tile(self, column: int, row: int) -> bytes | None:
            return encode_tile(np.full((TILE_PX, TILE_PX), 2, np.uint8))

    labels = np.full((600, 700), 2, np.uint8)
    files = {"labels": tmp_path / "labels.tif", "overlay": tmp_path / "overlay.tif"}

    summary = write_label_pyramids(Overflowing(labels), grid_for(labels), PALETTE, {}, **files)

    assert summary.class_counts[2] == 600 * 700
    data = files["labels"].read_bytes()
    with first_page(files["labels"]) as page:
        start, length = page.dataoffsets[1], page.databytecounts[1]
    stored = decode_tile(data[start : start + length])
    assert (stored[:, :188] == 2).all()
    assert not stored[:, 188:].any()


def test_every_source_tile_is_asked_for_once(tmp_path: Path) -> None:
    labels = blobs(1025, 2600)  # three columns of tiles whose reduced level has one
    tiles = ArrayTiles(labels)
    files = {"labels": tmp_path / "labels.tif", "overlay": tmp_path / "overlay.tif"}

    write_label_pyramids(tiles, grid_for(labels), PALETTE, {}, **files)

    assert sorted(tiles.touched) == [(column, row) for column in range(3) for row in range(6)]


def test_progress_rises_from_the_first_tile_to_one(tmp_path: Path) -> None:
    labels, seen = blobs(3100, 2700), []
    files = {"labels": tmp_path / "labels.tif", "overlay": tmp_path / "overlay.tif"}

    write_label_pyramids(ArrayTiles(labels), grid_for(labels), PALETTE, {}, **files, progress=seen.append)

    # Four blocks of 4 x 4 tiles, then two files.
    assert seen == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.9, 1.0])
    assert seen[-1] == 1.0


def test_nothing_is_left_behind_when_the_source_fails(tmp_path: Path) -> None:
    class Failing(ArrayTiles):
        def encoded_tile(self, column: int, row: int) -> bytes | None:
            raise OSError("gone")

    labels = blobs(1100, 700)
    files = {"labels": tmp_path / "labels.tif", "overlay": tmp_path / "overlay.tif"}

    with pytest.raises(OSError, match="gone"):
        write_label_pyramids(Failing(labels), grid_for(labels), PALETTE, {}, **files)

    assert list(tmp_path.iterdir()) == []


def test_verification_notices_a_damaged_tile_and_a_short_file(tmp_path: Path) -> None:
    labels = blobs(700, 700)
    write(tmp_path, labels)
    path, sizes = tmp_path / "labels.tif", level_sizes(Size(700, 700))
    good = path.read_bytes()
    with tifffile.TiffFile(path) as tiff:
        tiles = [list(zip(page.dataoffsets, page.databytecounts, strict=True)) for page in tiff.pages]

    def expected(level: int, column: int, row: int) -> bytes:
        offset, length = tiles[level][row * sizes[level].tiles(TILE_PX).width + column]
        return good[offset : offset + length]

    verify_pyramid(path, sizes, expected)
    offset = tiles[0][1][0] + 5
    path.write_bytes(good[:offset] + bytes([good[offset] ^ 255]) + good[offset + 1 :])
    with pytest.raises(PyramidError, match="different"):
        verify_pyramid(path, sizes, expected)
    path.write_bytes(good[:-100])
    with pytest.raises(PyramidError, match="level 1 has tiles outside the file"):
        verify_pyramid(path, sizes, expected)
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(PyramidError, match="1 levels instead of 2"):
        verify_pyramid(path, sizes, expected)
    path.write_bytes(b"nonsense")
    with pytest.raises(PyramidError, match="cannot be read back"):
        verify_pyramid(path, sizes, expected)


def test_verification_notices_other_levels_and_sizes(tmp_path: Path) -> None:
    write(tmp_path, blobs(700, 700))
    path, sizes = tmp_path / "labels.tif", level_sizes(Size(700, 700))

    def never(level: int, column: int, row: int) -> bytes:
        pytest.fail(f"tile ({column}, {row}) of level {level} is compared before its level")

    with pytest.raises(PyramidError, match="2 levels instead of 1"):
        verify_pyramid(path, sizes[:1], never)
    with pytest.raises(PyramidError, match=r"level 0 came back as \(700, 700, 512, 512, 4\)"):
        verify_pyramid(path, (Size(701, 700), sizes[1]), never)
