"""Label map files against truth files."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from model.compare import compare_label_maps
from model.errors import InputError


def tiff(path: Path, pixels: NDArray[np.generic]) -> Path:
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    tifffile.imwrite(path, pixels, photometric=photometric, tile=(256, 256), compression="deflate")
    return path


@pytest.fixture
def truth() -> NDArray[np.uint8]:
    """Three bands high, classes 0..3."""
    return np.random.default_rng(0).integers(0, 4, (1100, 300), dtype=np.uint8)


def test_every_pixel_with_truth_counts_once(truth: NDArray[np.uint8], tmp_path: Path) -> None:
    predicted = np.where(truth == 2, 3, truth)
    predicted[truth == 0] = 1

    matrix = compare_label_maps(
        tiff(tmp_path / "labels.tif", predicted), tiff(tmp_path / "truth.tif", truth), classes=3
    )

    metrics = matrix.metrics()
    ones, twos, threes = (int((truth == value).sum()) for value in (1, 2, 3))
    assert metrics.accuracy == pytest.approx((ones + threes) / (ones + twos + threes))


def test_files_of_two_sizes_are_refused(truth: NDArray[np.uint8], tmp_path: Path) -> None:
    labels = tiff(tmp_path / "labels.tif", truth[:, :200])
    with pytest.raises(InputError, match="at the label map's scale"):
        compare_label_maps(labels, tiff(tmp_path / "truth.tif", truth), classes=3)


@pytest.mark.parametrize("content", [None, b"nonsense"])
def test_what_is_no_image_is_refused(content: bytes | None, truth: NDArray[np.uint8], tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "labels.tif").write_bytes(content)
    with pytest.raises(InputError, match=r"labels\.tif cannot be read .* Give an existing label map"):
        compare_label_maps(tmp_path / "labels.tif", tiff(tmp_path / "truth.tif", truth), classes=3)


def test_a_damaged_file_is_refused(truth: NDArray[np.uint8], tmp_path: Path) -> None:
    labels = tiff(tmp_path / "labels.tif", truth)
    with tifffile.TiffFile(labels) as file:
        offset, length = file.pages.first.dataoffsets[-1], file.pages.first.databytecounts[-1]
    data = bytearray(labels.read_bytes())
    data[offset : offset + length] = bytes(length)
    labels.write_bytes(data)
    with pytest.raises(InputError, match=r"is damaged .* Make it again"):
        compare_label_maps(labels, tiff(tmp_path / "truth.tif", truth), classes=3)


@pytest.mark.parametrize(("channels", "dtype"), [(3, np.uint8), (1, np.uint16)])
def test_what_is_no_label_map_is_refused(
    channels: int, dtype: type[np.generic], truth: NDArray[np.uint8], tmp_path: Path
) -> None:
    other = truth.astype(dtype)
    labels = tiff(tmp_path / "other.tif", np.stack([other] * 3, -1) if channels == 3 else other)
    with pytest.raises(InputError, match=r"other\.tif has \d channels of u.* Give labels\.tif"):
        compare_label_maps(labels, tiff(tmp_path / "truth.tif", truth), classes=3)
