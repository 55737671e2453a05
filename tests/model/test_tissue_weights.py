"""The shipped model of real tissue: what its card says, and what it does on its own test images."""

from pathlib import Path

import pytest
import torch

from model.card import ModelCard
from model.data.image_folder import Coding, covering_squares, prepare_images
from model.data.image_list import images_of_index
from model.evaluation.evaluate import evaluate_patches, open_slides
from model.evaluation.regions import planned_patches
from model.inference.segmenter import Segmenter
from tests import ROOT, WEIGHTS
from workers.engine.model_cache import ModelCache
from workers.settings import WorkerSettings

CARD = WEIGHTS / "tissue-ebhi-seg-resnet18-single.json"


def test_the_card_tells_the_truth_about_data_and_scores() -> None:
    card = ModelCard.load(CARD)
    assert not card.phantom
    assert not card.network.sees_patch
    for told in ("colorectal mucosa", "Not a medical device"):
        assert told in f"{card.intended_use}"
    for told in ("single input", "nothing of context"):
        assert told in card.description
    data = card.training["data_set"]
    for told in ("CC BY 4.0", "10.3389/fmed.2023.1114673"):
        assert told in data["attribution"]
    sets = [set(card.training["cohort"][name]) for name in ("train", "validation", "test")]
    assert [len(patients) for patients in sets] == [237, 31, 69]
    assert len(set.union(*sets)) == 337  # no patient in two sets
    metrics = card.metrics
    assert "test" in metrics["on"]
    assert metrics["intervals"]["units"] == 69
    low, high = metrics["intervals"]["miou_of_truth"]
    assert low < metrics["miou_of_truth"] < high
    assert card.calibration is not None
    assert max(card.calibration.error, card.calibration.error_uncalibrated) < 0.03


def test_its_weights_load_and_are_small() -> None:
    segmenter = Segmenter.load(CARD, device="cpu")
    assert CARD.with_suffix(".safetensors").stat().st_size < 10_000_000
    assert len(segmenter.card.classes) == 4


def test_the_demo_model_stays_the_default_of_the_shipped_folder() -> None:
    ready = ModelCache.of(WorkerSettings(weights_dir=WEIGHTS, device="cpu")).ready()
    assert ready.default_model == "phantom-resnet18-centred"
    assert len(ready.cards) == len(list(WEIGHTS.glob("*.json")))


@pytest.mark.slow
def test_it_labels_test_images_as_well_as_its_card_says(real_slides: Path, tmp_path: Path) -> None:
    """Of every seventh test image; the card's accuracy holds for all of them."""
    folder = real_slides / "ebhi_seg"
    if not folder.is_dir():
        pytest.skip("needs the EBHI-SEG images")
    card = ModelCard.load(CARD)
    coding = Coding.load(ROOT / "benchmarks" / "tissue" / "ebhi-seg.json")
    listed = images_of_index(folder, folder / "index.csv", (1.43, 1.07))
    prepared = prepare_images({"test": listed["test"][::7]}, tmp_path, coding, card.input)["test"]
    torch.set_num_threads(1)
    with open_slides(card, [one.pair for one in prepared]) as slides:
        squares = [row for k, one in enumerate(prepared) for row in covering_squares(k, one, card.input)]
        segmenter = Segmenter.load(CARD, device="cpu")
        found = evaluate_patches(segmenter, slides, planned_patches(slides, squares, len(card.classes)))
    assert found.total.all.metrics().accuracy == pytest.approx(card.metrics["accuracy"], abs=0.05)
