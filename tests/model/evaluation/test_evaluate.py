"""Evaluation: which pixels count, once each, by which road.

With a stand-in that reads classes off colours.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from model.card import ModelCard
from model.data.index import PlannedSlice, SlideIndex
from model.data.splits import Cohort, SlideWithTruth
from model.errors import CohortError, InputError
from model.evaluation.benchmark import Task, evaluate_index
from model.evaluation.evaluate import Evaluation, evaluate_patches, open_slides
from model.evaluation.examples import Examples
from model.evaluation.regions import EvalPatch, balanced_patches, grid_patches, planned_patches, spread
from model.inference.segmenter import Segmenter
from model.network.build import build_network
from model.network.init import initialise
from model.weights import save_weights
from wsi.geometry import Rect
from wsi.palette import LabelClass
from wsi.patch_view import PatchView

from ..oracle import Oracle, confusion_of, true_labels

WriteSlide = Callable[..., SlideWithTruth]
WIDTH, HEIGHT, GLASS = 704, 640, 32
"""Of conftest's slides; patches are of one tile here, so there are two columns and two rows of them."""


def as_segmenter(oracle: Oracle) -> Segmenter:
    return cast("Segmenter", oracle)


def run(oracle: Oracle, *pairs: SlideWithTruth, **options: Any) -> Evaluation:
    with open_slides(oracle.card, pairs) as slides:
        places = grid_patches(slides, len(oracle.card.classes), **options)
        return evaluate_patches(as_segmenter(oracle), slides, places)


def all_ones(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ones(pixels.shape[:2], np.uint8)


def test_every_pixel_with_truth_counts_once_edges_included(card: ModelCard, write_slide: WriteSlide) -> None:
    evaluation = run(Oracle(card), write_slide("a", 0), write_slide("b", 1))
    assert [name for name, _ in evaluation.slides] == ["a.tif", "b.tif"]
    for _, tally in evaluation.slides:
        assert tally.patches == 4
        assert tally.all.counts.sum() == WIDTH * (HEIGHT - GLASS)
        assert tally.all.metrics().accuracy > 0.999
    assert evaluation.total.all.counts.sum() == 2 * WIDTH * (HEIGHT - GLASS)
    assert evaluation.total.patches == 8


def test_a_network_that_says_normal_everywhere_fills_one_column(
    card: ModelCard, write_slide: WriteSlide
) -> None:
    counts = run(Oracle(card, all_ones), write_slide("a", 0)).total.all.counts
    assert counts[:, 1:].sum() == 0
    # Columns of 192 px in turn: classes 1, 2, 3 and what is left of 1 again.
    assert counts[:, 0].tolist() == [(192 + 128) * 608, 192 * 608, 192 * 608]


def test_mixed_patches_are_counted_apart(card: ModelCard, write_slide: WriteSlide) -> None:
    # Patches of 512 px: the left ones hold columns 1 2 3, the right ones (192 px wide) 64 px of 3 and 128 px
    # of 1.
    evaluation = run(Oracle(card, all_ones), write_slide("a", 0), write_slide("one", 0, classes=1))
    mixed, plain = (tally for _, tally in evaluation.slides)
    assert (mixed.patches, mixed.mixed_patches) == (4, 4)
    np.testing.assert_array_equal(mixed.mixed.counts, mixed.all.counts)
    assert (plain.patches, plain.mixed_patches, plain.mixed.counts.sum()) == (4, 0, 0)
    total = evaluation.total
    assert (total.patches, total.mixed_patches) == (8, 4)
    assert total.all.counts.sum() == 2 * total.mixed.counts.sum()


@pytest.mark.parametrize(("share", "mixed"), [(0.04, False), (0.06, True)])
def test_mixed_is_a_share_of_the_second_class(
    share: float, mixed: bool, card: ModelCard, write_slide: WriteSlide
) -> None:
    with open_slides(card, [write_slide("a", 0)]) as slides:
        place = grid_patches(slides, 3)[0]
    counts = (round(1000 * (1 - share)), round(1000 * share), 0)
    assert replace(place, counts=counts).mixed is mixed
    assert not replace(place, counts=(0, 0, 0)).mixed
    assert not replace(place, counts=(7,)).mixed


def test_places_can_be_limited_and_are_spread(card: ModelCard, write_slide: WriteSlide) -> None:
    oracle = Oracle(card)
    evaluation = run(oracle, write_slide("a", 0), write_slide("b", 1), patches_per_slide=2)
    assert [tally.patches for _, tally in evaluation.slides] == [2, 2]
    assert spread(list(range(10)), 2) == [2, 7]
    assert spread([1, 2], 5) == [1, 2]


def test_slides_without_any_truth_give_an_empty_matrix(card: ModelCard, write_slide: WriteSlide) -> None:
    assert run(Oracle(card), write_slide("a", 0, height=GLASS)).total.all.counts.sum() == 0


def planned(slide: int, x: int, y: int, side: int = 256, patch: Rect | None = None) -> PlannedSlice:
    return PlannedSlice(slide, patch or Rect(0, 0, 512, 512), Rect(x, y, side, side), (0.0, 1.0, 0.0, 0.0))


def test_planned_slices_are_seen_without_margin_and_with_their_patch(
    card: ModelCard, write_slide: WriteSlide
) -> None:
    oracle = Oracle(card)
    other = Rect(512, 0, 512, 512)
    slices = [planned(1, 0, 64), planned(1, 256, 256), planned(1, 100, 100), planned(0, 512, 32, patch=other)]
    with open_slides(card, [write_slide("a", 0), write_slide("b", 1)]) as slides:
        places = planned_patches(slides, slices, 3)
        evaluation = evaluate_patches(as_segmenter(oracle), slides, places)
    # The region is the patch with the halo of 16 px, as in training and inference; 544 / 5 is nearest to 96.
    assert oracle.calls == [
        {"region": 544, "windows": 1, "slice": 256, "context": 96},
        {"region": 544, "windows": 3, "slice": 256, "context": 96},
    ]
    first, second = (tally for _, tally in evaluation.slides)
    assert first.all.counts.sum() == 192 * 256  # beyond the slide's right edge there is no truth
    assert second.all.counts.sum() == 3 * 256 * 256  # overlapping slices count each
    assert evaluation.total.all.metrics().accuracy > 0.999
    assert evaluation.total.mixed_patches == 2


def test_sides_of_slices_go_to_what_networks_take(card: ModelCard, write_slide: WriteSlide) -> None:
    oracle = Oracle(card)
    with open_slides(card, [write_slide("a", 0)]) as slides:
        evaluate_patches(as_segmenter(oracle), slides, planned_patches(slides, [planned(0, 0, 0, 500)], 3))
    assert oracle.calls[0]["slice"] == 512


def test_examples_show_the_most_mixed_places_of_each_slide_once(
    card: ModelCard, write_slide: WriteSlide
) -> None:
    pairs = [write_slide("a", 0), write_slide("plain", 0, classes=1)]
    oracle = Oracle(card)
    with open_slides(card, pairs) as slides:
        places = grid_patches(slides, 3)
        examples = Examples.choose(slides, places, 4)
        evaluate_patches(as_segmenter(oracle), slides, places, seen=examples.catch("oracle"))
    # Patches of 512 px on 704 x 640 px overlap too much to be shown twice.
    assert [(example.slide, example.rect) for example in examples.all] == [
        ("a.tif", Rect(0, 0, 512, 512)),
        ("plain.tif", Rect(0, 0, 512, 512)),
    ]
    first = examples.all[0]
    assert first.pixels.shape == (512, 512, 3)
    np.testing.assert_array_equal(first.labels["oracle"], true_labels(first.pixels))
    assert (first.labels["oracle"] == first.truth)[GLASS:].mean() > 0.999


def test_an_example_moved_into_the_slide_is_put_together_from_several_patches(
    card: ModelCard, write_slide: WriteSlide
) -> None:
    oracle = Oracle(card)
    with open_slides(card, [write_slide("a", 0)]) as slides:
        places = grid_patches(slides, 3)
        last = [place for place in places if place.core == Rect(512, 512, 512, 512)]
        examples = Examples.choose(slides, last, 1)
        evaluate_patches(as_segmenter(oracle), slides, places, seen=examples.catch("oracle"))
    (example,) = examples.all
    assert example.rect == Rect(192, 128, 512, 512)
    np.testing.assert_array_equal(example.labels["oracle"], true_labels(example.pixels))


def test_an_example_of_planned_slices_is_a_slice(card: ModelCard, write_slide: WriteSlide) -> None:
    with open_slides(card, [write_slide("a", 0)]) as slides:
        places = planned_patches(slides, [planned(0, 0, 40, 128), planned(0, 128, 40, 128)], 3)
        (example,) = Examples.choose(slides, places, 3).all
    assert example.rect == Rect(128, 40, 128, 128)  # the other one is all of one class


@pytest.fixture
def index(card: ModelCard, write_slide: WriteSlide) -> SlideIndex:
    names = ("a", "b", "c")
    cohort = Cohort(*((write_slide(name, seed),) for seed, name in enumerate(names)))
    return SlideIndex(card.classes, card.input, cohort, (), (), (planned(0, 0, 64),), "blocks")


def saved(card: ModelCard, folder: Path, seed: int = 0) -> Path:
    """The card beside fresh weights."""
    network = build_network(card.network, len(card.classes))
    initialise(network, seed)
    weights = replace(card.weights, file=f"{card.name}.safetensors")
    sha256 = save_weights(network, folder / weights.file, "float16")
    replace(card, weights=replace(weights, sha256=sha256)).save(folder / f"{card.name}.json")
    return folder / f"{card.name}.json"


def test_networks_are_examined_one_after_another_on_the_same_places(
    index: SlideIndex, card: ModelCard, tmp_path: Path
) -> None:
    cards = [saved(replace(card, name=name), tmp_path, seed) for seed, name in enumerate(("one", "two"))]
    seen: list[tuple[str, float]] = []
    evaluations, examples = evaluate_index(
        cards, Task.of(index, "test"), device="cpu", progress=lambda name, share: seen.append((name, share))
    )
    assert [evaluation.card.name for evaluation in evaluations] == ["one", "two"]
    assert seen == [("one", 1.0), ("two", 1.0)]
    for evaluation in evaluations:
        assert evaluation.total.all.counts.sum() == 256 * 256
        assert evaluation.seconds > 0
    (example,) = examples.all
    assert example.labels.keys() == {"one", "two"}
    one, two = (example.labels[name] for name in ("one", "two"))
    assert one.min() >= 1
    assert (one != two).any()


def test_whole_slides_by_the_index_equal_evaluating_them_directly(
    index: SlideIndex, card: ModelCard, tmp_path: Path
) -> None:
    path = saved(card, tmp_path)
    (evaluation,), _ = evaluate_index([path], Task.of(index, "validation"), device="cpu")
    direct = confusion_of(Segmenter.load(path, device="cpu"), index.cohort.validation)
    np.testing.assert_array_equal(evaluation.total.all.counts, direct.counts)


def test_progress_tells_fractions_and_nothing_to_label_is_refused(
    index: SlideIndex, card: ModelCard, write_slide: WriteSlide, tmp_path: Path
) -> None:
    fractions: list[float] = []
    with open_slides(card, index.cohort.train) as slides:
        patches = grid_patches(slides, len(card.classes))
        evaluate_patches(as_segmenter(Oracle(card)), slides, patches, progress=fractions.append)
    assert fractions == [1 / 4, 2 / 4, 3 / 4, 1]
    bare = replace(index, cohort=replace(index.cohort, test=(write_slide("bare", 0, height=GLASS),)), test=())
    with pytest.raises(CohortError, match="test set has no pixel with truth"):
        evaluate_index([saved(card, tmp_path)], Task.of(bare, "test"), device="cpu")


def test_a_task_takes_slices_where_they_are_planned(index: SlideIndex) -> None:
    assert Task.of(index, "test").on == "slices"
    assert Task.of(index, "test", on="slides").on == "slides"
    assert Task.of(index, "validation").on == "slides"
    with pytest.raises(CohortError, match="plans no slices for its validation set; take --on slides"):
        Task.of(index, "validation", on="slices")
    without = replace(index, cohort=Cohort(index.cohort.train, index.cohort.validation), test=())
    with pytest.raises(CohortError, match="no slides in its test set; take --set validation or train"):
        Task.of(without, "test")


def test_cards_that_do_not_fit_are_refused(index: SlideIndex, card: ModelCard, tmp_path: Path) -> None:
    other = replace(card, name="other", classes=(*card.classes[:2], LabelClass(3, "worse", (0, 0, 255))))
    task = Task.of(index, "test")
    with pytest.raises(CohortError, match=r"other has the classes .*worse.*, the truth .*bad"):
        evaluate_index([saved(other, tmp_path)], task, device="cpu")
    path = saved(card, tmp_path)
    with pytest.raises(InputError, match="several cards are called tiny"):
        evaluate_index([path, path], task, device="cpu")


def test_patches_to_validate_on_hold_every_class_about_as_often() -> None:
    square = Rect(0, 0, 2, 2)
    view = PatchView(square, square, ((0, 0),), 2, 0, 32, 32)
    counts = [(100, 0, 0)] * 60 + [(90, 10, 0)] * 5 + [(0, 0, 100)] * 5 + [(99, 1, 0)] * 30
    patches = [EvalPatch(k, square, view, one, planned=False) for k, one in enumerate(counts)]
    chosen = balanced_patches(patches, 9)
    assert len(chosen) == 9
    assert [patch.slide for patch in chosen] == sorted({patch.slide for patch in chosen})
    held = [sum(patch.counts[k] >= 5 for patch in chosen) for k in range(3)]
    assert min(held) >= 4  # the five mixed ones count for two classes
    assert balanced_patches(patches, 9) == chosen
    assert balanced_patches(patches[:5], 9) == patches[:5]
