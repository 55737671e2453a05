"""Slides with truth as training items."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.card import ModelCard
from model.data.augment import Augmentation
from model.data.cached_slide import CachedSlide
from model.data.cohort import Cohort, SlideWithTruth, geometry_of
from model.data.sampler import CELL_PX, PatchSampler
from model.errors import CohortError
from model.preprocess import context_from_region
from model.recipe import Stage
from wsi.geometry import Rect, Size
from wsi.grid import InputGeometry, make_grid
from wsi.slide import open_slide

WriteSlide = Callable[..., SlideWithTruth]


@pytest.fixture
def geometry(card: ModelCard) -> InputGeometry:
    return geometry_of(card.input)


def test_cached_squares_are_what_the_slide_and_its_truth_hold(
    write_slide: WriteSlide, geometry: InputGeometry, tmp_path: Path
) -> None:
    pair = write_slide("a", 0)
    cached = CachedSlide.open(pair, geometry, tmp_path / "cache")
    square = Rect(-20, 500, 300, 300)
    with open_slide(pair.slide) as slide:
        np.testing.assert_array_equal(cached.read_pixels(square), slide.read_region(square, 1))
    truth = np.zeros((300, 300), np.uint8)
    truth[:140, 20:] = tifffile.imread(pair.truth)[500:640, :280]
    np.testing.assert_array_equal(cached.read_truth(square), truth)
    assert (cached.read_pixels(Rect(5000, 0, 8, 8)) == 255).all()


def test_a_slide_is_decoded_once_and_again_when_it_changes(
    write_slide: WriteSlide, geometry: InputGeometry, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    pair = write_slide("a", 0)
    CachedSlide.open(pair, geometry, cache)
    files = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}
    CachedSlide.open(pair, geometry, cache)
    assert {path.name: path.stat().st_mtime_ns for path in cache.iterdir()} == files
    changed = CachedSlide.open(write_slide("a", 1, width=960), geometry, cache)
    assert changed.truth.shape == (640, 960)


def test_a_truth_on_another_grid_is_refused_and_leaves_nothing(
    write_slide: WriteSlide, geometry: InputGeometry, tmp_path: Path
) -> None:
    pair = SlideWithTruth(write_slide("a", 0).slide, write_slide("b", 0, width=960).truth)
    with pytest.raises(CohortError, match=r"b-truth\.tif is \(640, 960\)"):
        CachedSlide.open(pair, geometry, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if "b-truth" in path.name]
    pair.truth.write_text("no tiff")
    with pytest.raises(CohortError, match="cannot be read as a TIFF"):
        CachedSlide.open(pair, geometry, tmp_path / "cache")


def test_a_slide_cannot_be_trained_on_and_held_out(write_slide: WriteSlide) -> None:
    pair = write_slide("a", 0)
    with pytest.raises(CohortError, match=r"a\.tif: both"):
        Cohort((pair,), (pair,))
    with pytest.raises(CohortError, match="at least one"):
        Cohort((pair,), ())


@pytest.fixture
def slide(write_slide: WriteSlide, geometry: InputGeometry, tmp_path: Path) -> CachedSlide:
    return CachedSlide.open(write_slide("a", 0), geometry, tmp_path / "cache")


def test_a_batch_depends_on_seed_and_step_alone(slide: CachedSlide) -> None:
    stage = Stage(1, 64, patches=2, slices=3)
    sampler = PatchSampler([slide], 3, seed=1, stain_jitter=0.1)
    sampler.batch(4, stage)
    batch, again = sampler.batch(5, stage), PatchSampler([slide], 3, seed=1, stain_jitter=0.1).batch(5, stage)
    assert batch.slices.shape == (6, 3, 64, 64)
    assert batch.labels.shape == (6, 64, 64)
    assert batch.context.shape == (2, 3, 96, 96)
    for name in ("slices", "labels", "context"):
        assert torch.equal(getattr(batch, name), getattr(again, name))
    assert not torch.equal(batch.slices, sampler.batch(6, stage).slices)


def test_slices_keep_their_labels_through_turns_and_mirrors(slide: CachedSlide) -> None:
    sampler = PatchSampler([slide], 3, seed=1, stain_jitter=0.0)
    # Without stain jitter the colour of a pixel tells its class; blue is far apart for all four values.
    blue = torch.tensor([250.0, 200.0, 170.0, 120.0])
    for step in range(4):
        batch = sampler.batch(step, Stage(1, 96))
        inside = batch.labels > 0
        nearest = (batch.slices[:, 2, ..., None].float() - blue).abs().argmin(-1)
        assert (nearest[inside] == batch.labels[inside]).float().mean() > 0.9


def test_contexts_belong_to_their_slices(slide: CachedSlide) -> None:
    batch = PatchSampler([slide], 3, seed=1, stain_jitter=0.0).batch(0, Stage(1, 544, patches=1, slices=1))
    # A slice as large as the region is the region, so its area means are the context, turned alike.
    expected = context_from_region(batch.slices[0].permute(1, 2, 0).contiguous(), 96)
    torch.testing.assert_close(batch.context, expected, atol=1e-2, rtol=1e-3)


def test_coarse_labels_lie_under_the_context_they_came_with(slide: CachedSlide) -> None:
    sampler = PatchSampler([slide], 3, seed=1, stain_jitter=0.0)
    blue = torch.tensor([250.0, 200.0, 170.0, 120.0])
    hits = []
    for step in range(8):
        batch = sampler.batch(step, Stage(1, 96, patches=4, slices=0, context_loss=1.0))
        assert len(batch.slices) == len(batch.labels) == 0
        side = batch.context.shape[-1] // batch.context_labels.shape[-1]
        middle = batch.context[:, 2, side // 2 :: side, side // 2 :: side]
        inside = batch.context_labels > 0
        nearest = (middle[..., None] - blue).abs().argmin(-1)
        hits.append(nearest[inside] == batch.context_labels[inside])
    assert torch.cat(hits).float().mean() > 0.8


def test_a_rare_class_is_seen_as_often_as_a_common_one(
    write_slide: WriteSlide, geometry: InputGeometry, tmp_path: Path
) -> None:
    pair = write_slide("rare", 0, width=2560)
    truth = np.ones((640, 2560), np.uint8)
    truth[300:364, 1800:1864] = 2
    tifffile.imwrite(pair.truth, truth, photometric="minisblack", tile=(256, 256))
    sampler = PatchSampler([CachedSlide.open(pair, geometry, tmp_path / "c")], 2, seed=0, stain_jitter=0)
    stage = Stage(1, 64, patches=1, slices=1)
    seen = np.mean([bool((sampler.batch(step, stage).labels == 2).any()) for step in range(200)])
    assert 0.4 < seen < 0.7  # by area it would be under 0.05


class Watched(CachedSlide):
    """White, one pixel of truth at `place`; remembers which squares are read."""

    def __init__(self, size: Size, place: tuple[int, int], geometry: InputGeometry) -> None:
        truth = np.zeros((size.height, size.width), np.uint8)
        truth[place[1], place[0]] = 1
        white = np.broadcast_to(np.uint8(255), (*truth.shape, 3))
        super().__init__("watched", make_grid(size, geometry.mpp, geometry), white, truth)
        self.regions: list[Rect] = []
        self.squares: list[Rect] = []

    def read_pixels(self, square: Rect) -> NDArray[np.uint8]:
        self.regions.append(square)
        return super().read_pixels(square)

    def read_truth(self, square: Rect) -> NDArray[np.uint8]:
        self.squares.append(square)
        return super().read_truth(square)


@given(st.integers(1, 1500), st.integers(1, 1500), st.integers(1, 17), st.integers(0, 1000), st.data())
@settings(max_examples=40, deadline=None)
def test_slices_hold_the_wanted_pixel_inside_a_region_that_inference_could_read(
    width: int, height: int, sides: int, seed: int, data: st.DataObject
) -> None:
    geometry = InputGeometry(mpp=0.934, context_ratio=5, tiles_per_side=1, halo_px=16)
    x, y = (CELL_PX * data.draw(st.integers(0, (side - 1) // CELL_PX)) for side in (width, height))
    slide = Watched(Size(width, height), (x, y), geometry)

    PatchSampler([slide], 1, seed=seed, stain_jitter=0).batch(0, Stage(1, 32 * sides, patches=1, slices=3))

    (region,) = slide.regions
    assert (region.width, region.height) == (slide.grid.region_px, slide.grid.region_px)
    assert min(region.x, region.y) >= -slide.grid.halo_px
    assert len(slide.squares) == 4  # three slices, and the region for the context's labels
    for square in slide.squares:
        assert square.intersect(region) == square
        assert square.intersect(Rect(x, y, 1, 1)) == Rect(x, y, 1, 1)


def test_a_class_without_truth_and_a_foreign_value_are_refused(
    slide: CachedSlide, write_slide: WriteSlide, geometry: InputGeometry, tmp_path: Path
) -> None:
    with pytest.raises(CohortError, match=r"class \[4\]"):
        PatchSampler([slide], 4, seed=1, stain_jitter=0)
    with pytest.raises(CohortError, match="has value 3"):
        PatchSampler([slide], 2, seed=1, stain_jitter=0)


def test_a_slide_at_another_scale_is_refused(
    write_slide: WriteSlide, geometry: InputGeometry, tmp_path: Path
) -> None:
    slide = CachedSlide.open(write_slide("a", 0), replace(geometry, mpp=0.7), tmp_path / "cache")
    with pytest.raises(CohortError, match="off the model's scale"):
        PatchSampler([slide], 3, seed=1, stain_jitter=0)


def test_a_slice_larger_than_the_region_is_refused(slide: CachedSlide) -> None:
    with pytest.raises(CohortError, match="larger than the patch region"):
        PatchSampler([slide], 3, seed=1, stain_jitter=0).batch(0, Stage(1, 576))


def test_an_augmentation_without_change_changes_nothing() -> None:
    identity = Augmentation(0, mirrored=False, strength=np.ones(3, np.float32), gain=1.0)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(identity.turn(identity.stain(pixels)), pixels)
    context = torch.rand(1, 3, 8, 8) * 255
    torch.testing.assert_close(identity.on_context(context), context)


def test_slices_and_context_are_stained_and_turned_alike() -> None:
    augmentation = Augmentation(1, mirrored=True, strength=np.array([1.2, 0.8, 1.0], np.float32), gain=0.97)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    as_context = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    expected = augmentation.on_context(as_context)[0].permute(1, 2, 0).round().byte().numpy()
    np.testing.assert_array_equal(augmentation.turn(augmentation.stain(pixels)), expected)
