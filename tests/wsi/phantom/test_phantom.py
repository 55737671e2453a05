"""The phantom slide as a pure function of seed and position, and what its truth promises."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi.geometry import Rect
from wsi.phantom import PhantomSlide, Territory

SIDE = 2048
MPP = 0.934
SMALL = {"tissue_fraction": 0.6, "territory_um": 700.0}


@pytest.fixture(scope="module")
def phantom() -> PhantomSlide:
    return PhantomSlide(SIDE, 5, MPP, **SMALL)


@pytest.fixture(scope="module")
def whole(phantom: PhantomSlide) -> np.ndarray:
    return phantom.render(Rect(0, 0, SIDE, SIDE))


def test_two_slides_of_one_seed_are_the_same_and_of_another_seed_are_not() -> None:
    region = Rect(900, 900, 400, 200)
    first, again, other = (PhantomSlide(SIDE, seed, MPP, **SMALL).render(region) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@settings(max_examples=25, deadline=None)
@given(
    x=st.integers(0, SIDE - 1),
    y=st.integers(0, SIDE - 1),
    width=st.integers(1, 700),
    height=st.integers(1, 700),
)
def test_any_region_equals_that_part_of_the_whole(
    phantom: PhantomSlide, whole: np.ndarray, x: int, y: int, width: int, height: int
) -> None:
    width, height = min(width, SIDE - x), min(height, SIDE - y)
    part = phantom.render(Rect(x, y, width, height))
    assert np.array_equal(part, whole[y : y + height, x : x + width])


def test_stitched_parts_join_without_seams(phantom: PhantomSlide, whole: np.ndarray) -> None:
    step = 640
    rows = [
        np.hstack(
            [
                phantom.render(Rect(x, y, min(step, SIDE - x), min(step, SIDE - y)))
                for x in range(0, SIDE, step)
            ]
        )
        for y in range(0, SIDE, step)
    ]
    assert np.array_equal(np.vstack(rows), whole)


def test_stitched_truth_equals_the_whole_truth(phantom: PhantomSlide) -> None:
    side = SIDE // 2
    truth = phantom.truth(Rect(0, 0, side, side))
    rows = [
        np.hstack([phantom.truth(Rect(x, y, 512, 512)) for x in range(0, side, 512)])
        for y in range(0, side, 512)
    ]
    assert np.array_equal(np.vstack(rows), truth)


def test_beyond_the_slide_all_is_glass(phantom: PhantomSlide) -> None:
    dense = PhantomSlide(600, 2, MPP, tissue_fraction=1.0)
    glass = dense.stain.glass
    image = dense.render(Rect(-300, -300, 1200, 1200))
    assert (image[:300] == glass).all()
    assert (image[:, 900:] == glass).all()
    assert not (image[300:900, 300:900] == glass).all(axis=2).any()
    truth = dense.truth(Rect(-150, -150, 600, 600))
    assert np.count_nonzero(truth) == 300 * 300
    assert truth[150:450, 150:450].all()


def test_truth_is_zero_exactly_where_glass_shows(phantom: PhantomSlide, whole: np.ndarray) -> None:
    truth = phantom.truth(Rect(0, 0, SIDE, SIDE), downsample=1)
    glass = (whole == phantom.stain.glass).all(axis=2)
    # The label begins half-way up the soft edge of tissue; fat and lumina are tissue although they are white.
    assert glass[truth == 0].mean() > 0.97
    assert glass[truth > 0].mean() < 0.01


def test_truth_is_taken_at_the_centre_of_each_label_pixel(phantom: PhantomSlide) -> None:
    fine = phantom.truth(Rect(600, 600, 900, 900), downsample=1)
    coarse = phantom.truth(Rect(200, 200, 300, 300), downsample=3)
    assert np.array_equal(coarse, fine[1::3, 1::3])


def test_tissue_covers_the_asked_share_of_the_slide() -> None:
    for seed, fraction in ((1, 0.1), (2, 0.4), (3, 0.75)):
        truth = PhantomSlide(20_000, seed, tissue_fraction=fraction).truth(
            Rect(0, 0, 312, 312), downsample=64
        )
        assert np.count_nonzero(truth) / truth.size == pytest.approx(fraction, abs=0.02)


@pytest.mark.parametrize("seed", range(6))
def test_a_20k_slide_has_fair_shares_of_all_four_classes(seed: int) -> None:
    truth = PhantomSlide(20_000, seed).truth(Rect(0, 0, 312, 312), downsample=64)
    shares = np.bincount(truth.ravel(), minlength=5)[1:] / np.count_nonzero(truth)
    assert len(shares) == 4
    assert shares.min() > 0.1
    assert shares.max() < 0.45


def test_territories_are_large_against_a_slice() -> None:
    truth = PhantomSlide(20_000, 3).truth(Rect(0, 0, 312, 312), downsample=64)
    slice_px = 18  # 540 um
    windows = np.lib.stride_tricks.sliding_window_view(truth, (slice_px, slice_px)).reshape(-1, slice_px**2)
    windows = windows[windows.all(axis=1)]
    assert (windows == windows[:, :1]).all(axis=1).mean() > 0.6


def test_landmarks_stand_only_in_their_own_territory_and_patches_see_them() -> None:
    phantom = PhantomSlide(20_000, 1)
    points, kind = phantom.landmarks(Rect(0, 0, 20_000, 20_000))
    assert set(kind.tolist()) == {1, 2, 3, 4}
    disc = np.hypot(*np.mgrid[-139.5:140, -139.5:140]) < 140
    for x, y, own in zip(points.x.astype(int), points.y.astype(int), kind, strict=True):
        under = phantom.truth(Rect(x // 2 - 140, y // 2 - 140, 280, 280))
        assert (under[disc] == own).all()


def test_landmark_density_leaves_most_slices_without_and_nearly_all_patches_with() -> None:
    cell = 64  # l0 px between samples of the truth
    found: dict[int, list[bool]] = {18: [], 80: []}  # 540 um and 2.4 mm, in cells
    for seed in range(3):
        phantom = PhantomSlide(20_000, seed, tissue_fraction=1.0, territory_um=9000.0)
        points, _ = phantom.landmarks(Rect(0, 0, 20_000, 20_000))
        truth = phantom.truth(Rect(0, 0, 312, 312), downsample=cell)
        for side, reach in ((18, 128 / 0.467), (80, 0.0)):
            for y in range(0, 312 - side, side // 3):
                for x in range(0, 312 - side, side // 3):
                    inside = truth[y : y + side, x : x + side]
                    if inside[0, 0] and (inside == inside[0, 0]).all():
                        dx = np.maximum(np.maximum(x * cell - points.x, points.x - (x + side) * cell), 0)
                        dy = np.maximum(np.maximum(y * cell - points.y, points.y - (y + side) * cell), 0)
                        found[side].append(bool((dx**2 + dy**2 <= reach**2).any()))
    assert 0.3 < np.mean(found[18]) < 0.5
    assert np.mean(found[80]) > 0.95


@pytest.mark.parametrize(
    "pair", [(Territory.NORMAL, Territory.BENIGN), (Territory.IN_SITU, Territory.INVASIVE)]
)
def test_the_kinds_of_a_pair_look_the_same_apart_from_landmarks(pair: tuple[Territory, Territory]) -> None:
    """The same region of the same slide, drawn as either kind, is the same pixels far from landmarks."""
    slide = PhantomSlide(1500, 9, MPP, tissue_fraction=1.0, territory_um=9000.0)
    images, keep = [], np.ones((1500, 1500), dtype=bool)
    rows, columns = np.ogrid[0:1500, 0:1500]
    for kind in pair:
        slide.territories._kind[:] = kind
        images.append(slide.render(Rect(0, 0, 1500, 1500)))
        points, _ = slide.landmarks(Rect(0, 0, 1500, 1500))
        for x, y in zip(points.x, points.y, strict=True):
            keep &= (rows - y) ** 2 + (columns - x) ** 2 > (175 / MPP) ** 2
    first, second = images
    assert not np.array_equal(first, second)
    assert keep.mean() > 0.7
    assert np.array_equal(first[keep], second[keep])


def test_glass_is_one_colour_and_slides_differ_in_stain() -> None:
    slides = [PhantomSlide(SIDE, seed, MPP, tissue_fraction=0.3) for seed in range(4)]
    corners = [slide.render(Rect(0, 0, 64, 64)) for slide in slides]
    assert all((corner == slide.stain.glass).all() for corner, slide in zip(corners, slides, strict=True))
    full = [
        hashlib.sha256(slide.stain.colour(np.full((1, 1, 2), 90, np.uint8))).hexdigest() for slide in slides
    ]
    assert len(set(full)) == len(slides)


def test_is_glass_never_denies_tissue(phantom: PhantomSlide) -> None:
    for y in range(0, SIDE, 256):
        for x in range(0, SIDE, 256):
            region = Rect(x, y, 256, 256)
            assert phantom.is_glass(region) <= (not phantom.truth(region, downsample=1).any())
    sparse = PhantomSlide(60_000, 1, tissue_fraction=0.05)
    steps = range(0, 60_000, 2048)
    tiles = [sparse.is_glass(Rect(x, y, 2048, 2048)) for y in steps for x in steps]
    assert 0.85 < np.mean(tiles) < 0.95


def test_structures_keep_their_size_in_micrometres_at_another_mpp() -> None:
    fine, coarse = PhantomSlide(4000, 3, 0.25), PhantomSlide(2000, 3, 0.5)
    one = fine.truth(Rect(0, 0, 1000, 1000), downsample=4)
    two = coarse.truth(Rect(0, 0, 1000, 1000), downsample=2)
    assert (one == two).mean() > 0.98


@pytest.mark.parametrize(
    ("size", "arguments"),
    [(0, {}), (512, {"tissue_fraction": 0.0}), (512, {"tissue_fraction": 1.5}), (512, {"mpp": 9})],
)
def test_senseless_arguments_are_refused(size: int, arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="phantom needs"):
        PhantomSlide(size, 1, **arguments)
