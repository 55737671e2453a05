"""Slides with truth as training items."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.card import ModelCard
from model.data.annotated_slide import AnnotatedSlide
from model.data.augment import Augmentation
from model.data.batch import BatchSpec
from model.data.index import PlannedSlice
from model.data.loader import BatchLoader
from model.data.phantom import PHANTOM_CLASSES
from model.data.sampler import (
    CELL_PX,
    PlannedPatchSampler,
    RandomPatchSampler,
    absent_classes,
    index_slides,
)
from model.data.splits import Cohort, SlideWithTruth
from model.errors import CohortError
from model.inference.preprocess import context_from_region
from wsi.errors import LabelTiffError
from wsi.geometry import Rect, Size
from wsi.grid import InputGeometry, make_grid
from wsi.reading.slide import open_slide

WriteSlide = Callable[..., SlideWithTruth]


@pytest.fixture
def geometry(card: ModelCard) -> InputGeometry:
    return card.input


@pytest.mark.parametrize("kept_px", [0, 2**20])
def test_rectangles_are_what_the_slide_and_its_truth_hold(
    write_slide: WriteSlide, geometry: InputGeometry, monkeypatch: pytest.MonkeyPatch, kept_px: int
) -> None:
    monkeypatch.setattr("model.data.annotated_slide.KEPT_PX", kept_px)
    pair = write_slide("a", 0)
    rect = Rect(-20, 500, 300, 300)
    truth = np.zeros((300, 300), np.uint8)
    truth[:140, 20:] = tifffile.imread(pair.truth)[500:640, :280]
    with AnnotatedSlide.open(pair, geometry) as annotated, open_slide(pair.slide) as slide:
        np.testing.assert_array_equal(annotated.read_pixels(rect), slide.read_region(rect, 1))
        np.testing.assert_array_equal(annotated.read_truth(rect), truth)
        assert (annotated.read_pixels(Rect(5000, 0, 8, 8)) == 255).all()
        annotated.read_truth(rect)[...] = 9  # a copy: what is kept stays as it is
        np.testing.assert_array_equal(annotated.read_truth(rect), truth)
        whole = tifffile.imread(pair.truth)
        np.testing.assert_array_equal(annotated.truth_cells(16), whole[8::16, 8::16])


def test_a_truth_on_another_grid_or_none_at_all_is_refused(
    write_slide: WriteSlide, geometry: InputGeometry
) -> None:
    pair = SlideWithTruth(write_slide("a", 0).slide, write_slide("b", 0, width=960).truth)
    with pytest.raises(CohortError, match=r"b-truth\.tif has 960 x 640 px"):
        AnnotatedSlide.open(pair, geometry)
    pair.truth.write_text("no tiff")
    with pytest.raises(LabelTiffError, match="cannot be read as a TIFF"):
        AnnotatedSlide.open(pair, geometry)


def test_a_slide_cannot_be_trained_on_and_held_out(write_slide: WriteSlide) -> None:
    pair = write_slide("a", 0)
    with pytest.raises(CohortError, match=r"a\.tif: both"):
        Cohort((pair,), (pair,))
    with pytest.raises(CohortError, match="at least one"):
        Cohort((pair,), ())


@pytest.fixture
def slide(write_slide: WriteSlide, geometry: InputGeometry) -> Iterator[AnnotatedSlide]:
    with AnnotatedSlide.open(write_slide("a", 0), geometry) as opened:
        yield opened


def sampler_of(
    slide: AnnotatedSlide, classes: int, *, seed: int = 0, stain_jitter: float = 0.0
) -> BatchLoader:
    sampler = RandomPatchSampler(index_slides([slide], PHANTOM_CLASSES[:classes]), classes)
    return BatchLoader(sampler, seed=seed, stain_jitter=stain_jitter)


def test_a_batch_depends_on_seed_and_step_alone(slide: AnnotatedSlide) -> None:
    stage = BatchSpec(64, patches=2, slices=3)
    sampler = sampler_of(slide, 3, stain_jitter=0.1, seed=1)
    sampler.batch(4, stage)
    batch, again = sampler.batch(5, stage), sampler_of(slide, 3, stain_jitter=0.1, seed=1).batch(5, stage)
    assert batch.slices.shape == (6, 3, 64, 64)
    assert batch.labels.shape == (6, 64, 64)
    assert batch.context.shape == (2, 3, 96, 96)
    for name in ("slices", "labels", "context"):
        assert torch.equal(getattr(batch, name), getattr(again, name))
    assert not torch.equal(batch.slices, sampler.batch(6, stage).slices)


def test_slices_keep_their_labels_through_turns_and_mirrors(slide: AnnotatedSlide) -> None:
    sampler = sampler_of(slide, 3, seed=1)
    # Without stain jitter the colour of a pixel tells its class; blue is far apart for all four values.
    blue = torch.tensor([250.0, 200.0, 170.0, 120.0])
    for step in range(4):
        batch = sampler.batch(step, BatchSpec(96))
        inside = batch.labels > 0
        nearest = (batch.slices[:, 2, ..., None].float() - blue).abs().argmin(-1)
        assert (nearest[inside] == batch.labels[inside]).float().mean() > 0.9


def test_contexts_belong_to_their_slices(slide: AnnotatedSlide) -> None:
    batch = sampler_of(slide, 3).batch(0, BatchSpec(544, patches=1, slices=1))
    # A slice as large as the region is the region, so its area means are the context, turned alike.
    expected = context_from_region(batch.slices[0].permute(1, 2, 0).contiguous(), 96)
    assert (batch.context - expected).abs().mean() < 2  # two ways to share out a pixel between two means
    torch.testing.assert_close(batch.boxes, torch.tensor([[0.0, 0.0, 1.0, 1.0]]))


def test_boxes_say_where_in_the_context_a_slice_lies(slide: AnnotatedSlide) -> None:
    sampler = sampler_of(slide, 3, stain_jitter=0.2)
    for step in range(8):
        batch = sampler.batch(step, BatchSpec(160, patches=1, slices=2))
        for pixels, (left, top, right, bottom) in zip(batch.slices, (batch.boxes * 96).tolist(), strict=True):
            there = batch.context[0, :, round(top) : round(bottom), round(left) : round(right)]
            small = torch.nn.functional.interpolate(pixels[None].float(), there.shape[1:], mode="area")[0]
            assert (small - there).abs().mean() < 12  # any other position differs by 25 and more


def test_a_batch_is_shared_out_among_ranks(slide: AnnotatedSlide) -> None:
    stage = BatchSpec(64, patches=3, slices=2)
    whole = sampler_of(slide, 3, stain_jitter=0.1).batch(7, stage)
    parts = [sampler_of(slide, 3, stain_jitter=0.1).batch(7, stage, rank=rank, ranks=2) for rank in (0, 1)]
    assert torch.equal(
        torch.cat([parts[0].context[:1], parts[1].context, parts[0].context[1:]]), whole.context
    )
    assert [len(part.slices) for part in parts] == [4, 2]


def test_threads_do_not_change_a_batch(slide: AnnotatedSlide) -> None:
    stage = BatchSpec(64, patches=4, slices=2)
    sampler = RandomPatchSampler(index_slides([slide], PHANTOM_CLASSES[:3]), 3)
    one, four = (BatchLoader(sampler, seed=1, stain_jitter=0.1, threads=n).batch(0, stage) for n in (1, 4))
    assert torch.equal(one.slices, four.slices)
    assert torch.equal(one.context, four.context)


def test_planned_slices_come_once_an_epoch_zoomed_about_their_rect(slide: AnnotatedSlide) -> None:
    patch = slide.grid.patch_core(0)
    planned = [PlannedSlice(0, patch, Rect(x, 64, 128, 128), (0, 1, 0, 0)) for x in (0, 128, 256)]
    sampler = PlannedPatchSampler(index_slides([slide], PHANTOM_CLASSES[:3]), planned, seed=1)
    rng = np.random.default_rng(0)
    whole = BatchSpec(128, patches=1, slices=1)
    for epoch in (0, 1):
        rects = {sampler.draw(rng, 3 * epoch + k, whole).view.slices for k in range(3)}
        assert rects == {(one.rect,) for one in planned}
    for _ in range(20):
        zoomed = sampler.draw(rng, 0, BatchSpec(128, patches=1, slices=1, scales=(0.5, 0.8)))
        (rect,) = zoomed.view.slices
        assert any(rect.intersect(one.rect) == one.rect for one in planned)
        assert rect.intersect(zoomed.view.region) == rect
        cropped = sampler.draw(rng, 0, BatchSpec(96, patches=1, slices=1)).view.slices[0]
        assert any(cropped.intersect(one.rect) == cropped for one in planned)


def test_coarse_labels_lie_under_the_context_they_came_with(slide: AnnotatedSlide) -> None:
    sampler = sampler_of(slide, 3, seed=1)
    blue = torch.tensor([250.0, 200.0, 170.0, 120.0])
    hits = []
    for step in range(8):
        batch = sampler.batch(step, BatchSpec(96, patches=4, slices=0))
        assert len(batch.slices) == len(batch.labels) == 0
        side = batch.context.shape[-1] // batch.context_labels.shape[-1]
        middle = batch.context[:, 2, side // 2 :: side, side // 2 :: side]
        inside = batch.context_labels > 0
        nearest = (middle[..., None] - blue).abs().argmin(-1)
        hits.append(nearest[inside] == batch.context_labels[inside])
    assert torch.cat(hits).float().mean() > 0.8


@pytest.mark.slow
def test_a_rare_class_is_seen_as_often_as_a_common_one(
    write_slide: WriteSlide, geometry: InputGeometry
) -> None:
    pair = write_slide("rare", 0, width=2560)
    truth = np.ones((640, 2560), np.uint8)
    truth[300:364, 1800:1864] = 2
    tifffile.imwrite(pair.truth, truth, photometric="minisblack", tile=(256, 256))
    stage = BatchSpec(64, patches=1, slices=1)
    with AnnotatedSlide.open(pair, geometry) as slide:
        sampler = sampler_of(slide, 2)
        seen = np.mean([bool((sampler.batch(step, stage).labels == 2).any()) for step in range(200)])
    assert 0.4 < seen < 0.7  # by area it would be under 0.05


class Blank:
    """Stands for an AnnotatedSlide whose truth is one pixel at `place`; a real one would be a file a case."""

    def __init__(self, size: Size, place: tuple[int, int], geometry: InputGeometry) -> None:
        self.name = "blank"
        self.grid = make_grid(size, geometry.mpp, geometry)
        self.truth = np.zeros((size.height, size.width), np.uint8)
        self.truth[place[1], place[0]] = 1

    def truth_cells(self, step: int) -> NDArray[np.uint8]:
        return self.truth[step // 2 :: step, step // 2 :: step]


@given(
    st.integers(CELL_PX, 1500),
    st.integers(CELL_PX, 1500),
    st.integers(1, 17),
    st.floats(0.5, 1),
    st.integers(0, 1000),
    st.data(),
)
@settings(max_examples=40)
def test_slices_hold_the_wanted_pixel_inside_a_region_that_inference_could_read(
    width: int, height: int, sides: int, scale: float, seed: int, data: st.DataObject
) -> None:
    geometry = InputGeometry(mpp=0.934, context_ratio=5, slices_per_side=1, halo_px=16)
    middle = CELL_PX // 2
    x, y = (
        CELL_PX * data.draw(st.integers(0, (side - 1 - middle) // CELL_PX)) + middle
        for side in (width, height)
    )
    slide = Blank(Size(width, height), (x, y), geometry)
    sampler = RandomPatchSampler(index_slides([cast("AnnotatedSlide", slide)], PHANTOM_CLASSES[:1]), 1)
    stage = BatchSpec(32 * sides, patches=1, slices=3, scales=(scale, scale))

    draw = sampler.draw(np.random.default_rng(seed), 0, stage)

    assert draw.view.region.width == draw.view.region.height == round(slide.grid.region_px / scale)
    assert min(draw.view.region.x, draw.view.region.y) >= -slide.grid.halo_px
    assert len(draw.view.slices) == 3
    for square in draw.view.slices:
        assert square.width == square.height == round(32 * sides / scale)
        assert square.intersect(draw.view.region) == square
        assert square.intersect(Rect(x, y, 1, 1)) == Rect(x, y, 1, 1)


class Chequered(Blank):
    """A chequerboard of 97 px squares, no multiple of a cell; its pixels show its truth."""

    def __init__(self, size: Size, geometry: InputGeometry) -> None:
        super().__init__(size, (0, 0), geometry)
        rows, columns = np.indices((size.height, size.width)) // 97
        self.truth[...] = (rows + columns) % 2 + 1

    def read_context(self, region: Rect, side_px: int) -> NDArray[np.uint8]:
        middles = ((np.arange(side_px) + 0.5) * region.width / side_px).astype(int)
        shown = np.zeros((region.height, region.width), np.uint8)
        inside = region.intersect(Rect.of(self.grid.label_size))
        at = inside.moved(-region.x, -region.y)
        shown[at.y : at.bottom, at.x : at.right] = self.truth[
            inside.y : inside.bottom, inside.x : inside.right
        ]
        return np.repeat(shown[np.ix_(middles, middles)][..., None], 3, axis=2)


def test_context_labels_lie_under_their_pixels_and_to_no_side(geometry: InputGeometry) -> None:
    slide = Chequered(Size(1600, 1600), replace(geometry, slices_per_side=2))
    sampler = RandomPatchSampler(index_slides([cast("AnnotatedSlide", slide)], PHANTOM_CLASSES[:2]), 2)
    batch = BatchLoader(sampler, seed=0, stain_jitter=0).batch(0, BatchSpec(64, patches=6, slices=0))
    true, labels = batch.context[:, 0], batch.context_labels
    # Off by 4 px a border and axis on average, which is 8 %; half a cell to one side would make it 16 %.
    assert (labels != true)[(true > 0) & (labels > 0)].float().mean() < 0.1


def test_a_foreign_value_is_refused(slide: AnnotatedSlide) -> None:
    with pytest.raises(CohortError, match=r"a\.tif has value 3; the card has the classes 1 normal, 2 benign"):
        sampler_of(slide, 2)


def test_slides_without_any_truth_are_refused(write_slide: WriteSlide, geometry: InputGeometry) -> None:
    pair = write_slide("a", 0)
    tifffile.imwrite(pair.truth, np.zeros((640, 704), np.uint8), photometric="minisblack")
    with (
        AnnotatedSlide.open(pair, geometry) as slide,
        pytest.raises(CohortError, match="no slide to train on has truth"),
    ):
        sampler_of(slide, 3)


def test_a_class_without_truth_is_named_and_passed_over(slide: AnnotatedSlide) -> None:
    indexed = index_slides([slide], PHANTOM_CLASSES)
    assert [entry.name for entry in absent_classes(indexed, PHANTOM_CLASSES)] == ["invasive"]
    batch = BatchLoader(RandomPatchSampler(indexed, 4), seed=1, stain_jitter=0.0).batch(0, BatchSpec(64))
    assert set(batch.labels.unique().tolist()) <= {0, 1, 2, 3}


def test_a_region_smaller_than_the_cells_is_found(write_slide: WriteSlide, geometry: InputGeometry) -> None:
    pair = write_slide("a", 0, classes=2)
    truth = tifffile.imread(pair.truth)
    truth[601:606, 337:341] = 3  # between the cells at 592, 608 and 336, 352
    tifffile.imwrite(pair.truth, truth, photometric="minisblack", tile=(256, 256))
    with AnnotatedSlide.open(pair, geometry) as slide:
        indexed = index_slides([slide], PHANTOM_CLASSES[:3])
        assert np.argwhere(indexed[0].cells == 3).tolist() == [[37, 21]]
        seen = BatchLoader(RandomPatchSampler(indexed, 3), seed=1, stain_jitter=0.0)
        assert sum((seen.batch(step, BatchSpec(64)).labels == 3).any() for step in range(12)) >= 4


def test_a_slide_at_another_scale_is_refused(write_slide: WriteSlide, geometry: InputGeometry) -> None:
    with (
        AnnotatedSlide.open(write_slide("a", 0), replace(geometry, mpp=0.7)) as slide,
        pytest.raises(CohortError, match="off the model's scale"),
    ):
        sampler_of(slide, 3)


def test_a_slice_larger_than_the_region_is_refused(slide: AnnotatedSlide) -> None:
    with pytest.raises(CohortError, match="larger than the patch region"):
        sampler_of(slide, 3).batch(0, BatchSpec(576))


def test_an_augmentation_without_change_changes_nothing() -> None:
    identity = Augmentation(0, mirrored=False, strength=np.ones(3, np.float32), gain=1.0)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(identity.turn(identity.stain(pixels)), pixels)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarter_turns", range(4))
def test_boxes_turn_with_the_picture(quarter_turns: int, mirrored: bool) -> None:
    augmentation = Augmentation(quarter_turns, mirrored, np.ones(3, np.float32), 1.0)
    picture = np.zeros((10, 10), np.uint8)
    picture[1:4, 2:8] = 1
    turned = augmentation.turn(picture)
    ((left, top, right, bottom),) = (
        (augmentation.turn_boxes(np.array([[0.2, 0.1, 0.8, 0.4]], np.float32)) * 10).round().astype(int)
    )
    assert turned[top:bottom, left:right].all()
    assert turned.sum() == (bottom - top) * (right - left)


@pytest.mark.parametrize("planned", [False, True])
def test_centred_contexts_lie_about_their_slice_with_some_jitter(
    write_slide: WriteSlide, geometry: InputGeometry, planned: bool
) -> None:
    with AnnotatedSlide.open(write_slide("a", 0), replace(geometry, context="centred")) as slide:
        indexed = index_slides([slide], PHANTOM_CLASSES[:3])
        row = PlannedSlice(0, slide.grid.patch_core(0), Rect(64, 32, 128, 128), (0, 1, 0, 0))
        sampler = PlannedPatchSampler(indexed, [row], 1) if planned else RandomPatchSampler(indexed, 3)
        offsets = []
        for number in range(40):
            rng = np.random.default_rng(number)
            view = sampler.draw(rng, number, BatchSpec(128, patches=1, slices=1)).view
            (x, y), context = view.corners[0], view.context
            offsets += [
                2 * x + 128 - 2 * context.x - context.width,
                2 * y + 128 - 2 * context.y - context.width,
            ]
    assert max(map(abs, offsets)) <= 129
    assert len(set(offsets)) > 20
    assert min(offsets) < -64
    assert max(offsets) > 64
