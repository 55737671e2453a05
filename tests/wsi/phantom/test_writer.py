"""Phantom files as other programs see them."""

from pathlib import Path

import numpy as np
import openslide
import pytest
import pyvips
import tifffile

from wsi.geometry import Rect
from wsi.phantom import PhantomFiles, PhantomSlide, write_phantom

WIDTH, HEIGHT, SEED = 2600, 1900, 4
SHAPE = {"height_px": HEIGHT, "tissue_fraction": 0.4, "territory_um": 400.0, "version": 1}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> PhantomFiles:
    out = tmp_path_factory.mktemp("phantom") / "slide.tif"
    return write_phantom(out, size_px=WIDTH, seed=SEED, **SHAPE)


@pytest.fixture(scope="module")
def phantom() -> PhantomSlide:
    return PhantomSlide(WIDTH, SEED, **SHAPE)


def test_openslide_reads_levels_and_mpp(files: PhantomFiles) -> None:
    with openslide.OpenSlide(files.slide) as slide:
        assert slide.properties["openslide.vendor"] == "generic-tiff"
        assert slide.level_dimensions == ((2600, 1900), (1300, 950), (650, 475), (325, 237))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.467)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.467)


def test_pixels_are_the_phantoms_up_to_jpeg(files: PhantomFiles, phantom: PhantomSlide) -> None:
    exact = phantom.render(Rect(0, 0, WIDTH, HEIGHT)).astype(int)
    with openslide.OpenSlide(files.slide) as slide:
        finest = np.asarray(slide.read_region((0, 0), 0, (WIDTH, HEIGHT)).convert("RGB")).astype(int)
        second = np.asarray(slide.read_region((0, 0), 1, (1300, 950)).convert("RGB")).astype(int)
    assert np.abs(finest - exact).mean() < 6
    halves = exact.reshape(950, 2, 1300, 2, 3).mean(axis=(1, 3))
    assert np.abs(second - halves).mean() < 6


def test_libvips_and_openslide_see_the_same_pixels(files: PhantomFiles) -> None:
    image = pyvips.Image.new_from_file(str(files.slide)).numpy()
    with openslide.OpenSlide(files.slide) as slide:
        other = np.asarray(slide.read_region((0, 0), 0, (WIDTH, HEIGHT)).convert("RGB"))
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(image.astype(int) - other.astype(int)).max() <= 2


def test_truth_file_is_the_truth(files: PhantomFiles, phantom: PhantomSlide) -> None:
    with tifffile.TiffFile(files.truth) as tiff:
        stored = tiff.pages[0].asarray()
    assert np.array_equal(stored, phantom.truth(Rect(0, 0, WIDTH // 2, HEIGHT // 2)))
    with openslide.OpenSlide(files.truth_overlay) as overlay:
        assert float(overlay.properties["openslide.mpp-x"]) == pytest.approx(0.934)
        assert overlay.dimensions == (WIDTH // 2, HEIGHT // 2)


@pytest.mark.parametrize(("width", "height"), [(1025, 1025), (3073, 520), (520, 2049)])
def test_sizes_whose_halves_lack_the_last_column_or_row_are_whole(
    width: int, height: int, tmp_path: Path
) -> None:
    shape = {"height_px": height, "tissue_fraction": 1.0, "version": 1}
    files = write_phantom(tmp_path / "slide.tif", size_px=width, seed=SEED, **shape)

    exact = PhantomSlide(width, SEED, **shape).render(Rect(0, 0, width, height)).astype(int)
    with tifffile.TiffFile(files.slide) as tiff:
        sizes = [(page.imagewidth, page.imagelength) for page in tiff.pages]
    with openslide.OpenSlide(files.slide) as slide:
        finest = np.asarray(slide.read_region((0, 0), 0, (width, height)).convert("RGB")).astype(int)
    assert sizes == [(width >> level, height >> level) for level in range(len(sizes))]
    assert np.abs(finest - exact).mean() < 6
    # One column or row has a tile to itself: JPEG mixes it with the glass beyond, but it is not glass.
    for last in [np.s_[:, -1]] * (width % 512 == 1) + [np.s_[-1]] * (height % 512 == 1):
        assert np.abs(finest[last] - exact[last]).mean() < 0.4 * np.abs(245 - exact[last]).mean()


def test_same_arguments_give_the_same_bytes_whatever_the_threads(files: PhantomFiles, tmp_path: Path) -> None:
    again = write_phantom(tmp_path / "slide.tif", size_px=WIDTH, seed=SEED, threads=1, **SHAPE)
    assert again.slide.read_bytes() == files.slide.read_bytes()
    assert again.truth.read_bytes() == files.truth.read_bytes()
    assert again.truth_overlay.read_bytes() == files.truth_overlay.read_bytes()


def test_glass_tiles_cost_next_to_nothing(tmp_path: Path) -> None:
    files = write_phantom(
        tmp_path / "sparse.tif", size_px=8000, seed=1, mpp=0.934, tissue_fraction=0.01, version=1
    )
    with tifffile.TiffFile(files.slide) as tiff:
        sizes = np.asarray(tiff.pages[0].databytecounts)
    assert np.median(sizes) < 2500
    assert np.count_nonzero(sizes > 5000) < 0.15 * len(sizes)


def test_progress_runs_from_little_to_all_and_never_back(tmp_path: Path) -> None:
    seen: list[float] = []
    write_phantom(tmp_path / "slide.tif", size_px=3000, seed=1, mpp=0.934, version=1, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[0] < 0.3
    assert seen[-1] == pytest.approx(1.0)


def test_a_failed_write_leaves_no_slide(tmp_path: Path) -> None:
    def stop(_fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path / "slide.tif", size_px=1500, seed=1, mpp=0.934, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_version_2_is_written_with_its_ink_and_unlike_version_1(tmp_path: Path) -> None:
    files = write_phantom(tmp_path / "slide.tif", size_px=2048, seed=2, mpp=0.934)
    slide = PhantomSlide(2048, 2, 0.934)
    with openslide.OpenSlide(files.slide) as written:
        pixels = np.asarray(written.read_region((0, 0), 0, (2048, 2048)).convert("RGB")).astype(int)
    exact = slide.render(Rect(0, 0, 2048, 2048)).astype(int)
    bare = slide.truth(Rect(0, 0, 2048, 2048), downsample=1) == 0
    ink = bare & (np.abs(exact - slide.stain.glass).max(axis=2) > 60)
    assert ink.sum() > 3000
    assert np.abs(pixels - exact)[ink].mean() < 12
    assert np.abs(pixels - exact).mean() < 6
