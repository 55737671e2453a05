"""Tables, JSON and pictures of evaluations made up by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model.card import ModelCard, NetworkConfig
from model.data.splits import SlideWithTruth
from model.errors import ReportError
from model.evaluation import figures, report
from model.evaluation.evaluate import CalibrationError, Evaluation, Tally
from model.evaluation.examples import Example
from model.evaluation.metrics import ConfusionMatrix
from model.evaluation.regions import EvalPatch
from model.network.zoo import NETWORKS
from wsi.geometry import Rect
from wsi.patch_view import PatchView

MADE_BY = {
    "software": "darefine 9",
    "index": {"file": "index.json", "sha256": "ab", "source": "blocks"},
    "set": "test",
    "on": "slices",
    "patches_per_slide": None,
}
NAMES = ("normal", "odd", "bad")


def tally(*patches: list[list[int]]) -> Tally:
    """Counts of patches given as [truth values, predicted values]."""
    total = Tally(3)
    square = Rect(0, 0, 2, 2)
    for patch in patches:
        truth, predicted = (np.array(values, np.uint8).reshape(1, 1, -1) for values in patch)
        counts = tuple(int((truth == value).sum()) for value in (1, 2, 3))
        total.feed(
            EvalPatch(0, square, PatchView(square, square, ((0, 0),), 2, 0, 32, 32), counts, planned=False),
            predicted,
            truth,
        )
    return total


@pytest.fixture
def evaluation(card: ModelCard) -> Evaluation:
    mixed, plain = [[1, 1, 2, 2], [1, 2, 2, 2]], [[3, 3, 3, 3], [3, 3, 3, 1]]
    slides = (("a.tif", tally(mixed, plain)), ("b.tif", tally(plain)))
    return Evaluation(card, "cpu", "fp32", 12.345, slides)


def rows_of(table: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
        if "---" not in line
    ]


def test_the_table_has_the_papers_columns_in_percent(evaluation: Evaluation) -> None:
    header, row = rows_of(report.results_table([evaluation]))
    assert header[:3] == ["encoder", "decoder", "input"]
    assert header[3:] == [
        "MIoU",
        "MIoU of truth",
        "IoU normal",
        "IoU odd",
        "IoU bad",
        "Accuracy",
        "Score",
        "model",
    ]
    # Hits 1, 2, 6 of unions 1 + 1 + 2, 3, 8; severities wrong by 1 + 2 + 2 of 2 + 1 + 1 + 8 * 2.
    ious = [1 / 4, 2 / 3, 6 / 8]
    expected = [np.mean(ious), np.mean(ious), *ious, 9 / 12, 1 - 5 / 20]
    assert row == [
        "ResNet18_18 (8 wide)", "attention", "dual", *(f"{100 * value:.1f}" for value in expected), "tiny"
    ]  # fmt: skip


def test_mixed_patches_have_a_table_of_their_own_and_nothing_is_a_dash(evaluation: Evaluation) -> None:
    _, row = rows_of(report.results_table([evaluation], mixed=True))
    assert row[3:10] == ["58.3", "58.3", "50.0", "66.7", "-", "75.0", "75.0"]


def test_a_class_without_truth_has_dashes_though_it_is_predicted(card: ModelCard) -> None:
    counts = tally([[1, 1, 1, 2], [1, 1, 3, 2]])
    evaluation = Evaluation(card, "cpu", "fp32", 1.0, (("a.tif", counts),))
    _, row = rows_of(report.results_table([evaluation]))
    # Of IoU 2/3, 1 and 0: the third class is predicted and not in the truth.
    assert row[3:8] == ["55.6", "83.3", "66.7", "100.0", "-"]
    header, *rows = rows_of(report.confusion_table(counts.all, NAMES))
    assert header == ["truth", "as normal", "as odd", "as bad", "truth, px"]
    assert rows == [
        ["normal", "66.7", "0.0", "33.3", "3"],
        ["odd", "0.0", "100.0", "0.0", "1"],
        ["bad", "-", "-", "-", "0"],
    ]
    assert "| bad" in report.results_markdown([evaluation], MADE_BY)


def test_what_was_not_analysed_has_a_column_of_its_own() -> None:
    counts = ConfusionMatrix(2)
    counts.feed(np.array([0, 1, 2, 2], np.uint8), np.array([1, 1, 1, 2], np.uint8))
    header, first, second = rows_of(report.confusion_table(counts, ("normal", "odd")))
    assert header[-2:] == ["not analysed", "truth, px"]
    assert (first[3], second[3]) == ("33.3", "0.0")


def test_calibration_and_intervals_are_told(evaluation: Evaluation) -> None:
    error = CalibrationError(1.5, 0.021, 0.104, 400)
    slides = tuple((f"{k}.tif", one) for k, (_, one) in enumerate(evaluation.slides * 5))
    told = replace(evaluation, slides=slides, calibration=error)
    text = report.results_markdown([told], MADE_BY)
    assert "error 2.1 % at the card's temperature of 1.5, 10.4 % at 1 (400 pixels)" in text
    assert "95.0 % intervals, 10 rows" in text
    (model,) = report.results_json([told], MADE_BY)["models"]
    assert model["calibration"]["error"] == 0.021
    assert model["intervals"]["units"] == 10
    (plain,) = report.results_json([evaluation], MADE_BY)["models"]
    assert plain["intervals"] is plain["calibration"] is None


def test_slides_of_one_patient_are_added_up(evaluation: Evaluation, tmp_path: Path) -> None:
    pairs = [SlideWithTruth(tmp_path / name, tmp_path, "patient 7") for name in ("a.tif", "b.tif")]
    ((name, counts),) = evaluation.grouped(pairs).slides
    assert name == "patient 7"
    assert evaluation.grouped(pairs).unit == "group"
    assert counts.patches == evaluation.total.patches
    assert counts.all.counts.tolist() == evaluation.total.all.counts.tolist()
    alone = evaluation.grouped([replace(pair, group="") for pair in pairs])
    assert [name for name, _ in alone.slides] == ["a.tif", "b.tif"]


@pytest.mark.parametrize(
    ("network", "cells"),
    [
        (NETWORKS["resnet50-50-attention"].config, ("ResNet50_50", "attention", "dual")),
        (NETWORKS["resnet152-single"].config, ("ResNet152", "add", "single")),
        (NETWORKS["resnet101-50-multi-size"].config, ("ResNet101_50", "add", "multi-size")),
        (NETWORKS["unet"].config, ("U-Net", "U-Net", "single")),
        (
            NetworkConfig(encoder_depth=18, context_depth=18, encoder_width=16, second_input="aligned"),
            ("ResNet18_18 (16 wide)", "attention", "aligned"),
        ),
    ],
)
def test_networks_are_named_as_in_the_paper(
    network: NetworkConfig, cells: tuple[str, ...], card: ModelCard
) -> None:
    assert report.network_cells(replace(card, network=network)) == cells


def test_json_has_totals_slides_and_what_made_them(evaluation: Evaluation) -> None:
    results = json.loads(json.dumps(report.results_json([evaluation], MADE_BY), allow_nan=False))
    assert results["index"]["file"] == "index.json"
    assert results["mixed_share"] == 0.05
    (model,) = results["models"]
    assert (model["name"], model["sha256"], model["seconds"]) == ("tiny", "0" * 64, 12.35)
    assert [(slide["name"], slide["patches"]) for slide in model["slides"]] == [("a.tif", 2), ("b.tif", 1)]
    total = model["total"]
    assert (total["patches"], total["mixed_patches"]) == (3, 1)
    assert total["all"]["confusion"] == [[1, 1, 0], [0, 2, 0], [2, 0, 6]]
    assert total["mixed"]["iou"] == {"normal": 0.5, "odd": 0.6667, "bad": None}
    summed = sum(np.array(slide["all"]["confusion"]) for slide in model["slides"])
    assert summed.tolist() == total["all"]["confusion"]


def test_markdown_says_what_was_done(evaluation: Evaluation) -> None:
    text = report.results_markdown([evaluation], MADE_BY)
    assert "Set `test` of `index.json`: 2 slides, the planned slices, each with its patch as context." in text
    assert "## Mixed patches (1)" in text
    assert "0" * 64 in text
    assert "At most" not in text
    some = report.results_markdown([evaluation], {**MADE_BY, "patches_per_slide": 3})
    assert "At most 3 patches of each slide" in some


@pytest.fixture
def examples() -> list[Example]:
    truth = np.zeros((600, 500), np.uint8)
    truth[100:] = np.arange(500) // 200 + 1
    pixels = np.full((600, 500, 3), 200, np.uint8)
    labels = {"net": np.where(truth == 2, 3, np.maximum(truth, 1)).astype(np.uint8)}
    return [Example("a.tif", Rect(0, 0, 500, 600), 0.9, pixels, truth, labels)]


def colours_of(pixels: NDArray[np.uint8]) -> set[tuple[int, ...]]:
    return {colour for _, colour in Image.fromarray(pixels).getcolors(1000) or []}


def test_panels_hold_the_cards_colours_and_no_others(examples: list[Example], card: ModelCard) -> None:
    (row,) = figures.example_rows(examples, ["net"], card.classes)
    slide, truth, labels = row.panels
    black, red, blue, white = (0, 0, 0), (255, 0, 0), (0, 0, 255), (255, 255, 255)
    assert colours_of(slide) == {(200, 200, 200)}
    assert colours_of(truth) == {black, red, blue, white}
    assert colours_of(labels) == {black, blue, white}
    assert "0.45 mm" in row.title


def test_the_figure_shows_every_panel_and_a_legend(
    examples: list[Example], card: ModelCard, tmp_path: Path
) -> None:
    rows = figures.example_rows(examples * 2, ["net"], card.classes)
    titles = ["slide", "truth", "a-network-with-a-rather-long-name"]
    figures.save_figure(rows, titles, card.classes, tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[1] > 3 * figures.PANEL_PX
    for colour in ((255, 0, 0), (0, 0, 255)):
        shown = (pixels == colour).all(2)
        assert shown[: pixels.shape[0] * 9 // 10].any()
        assert shown[pixels.shape[0] * 9 // 10 :].any()  # in the legend


def test_the_confusion_picture_shades_by_share_of_the_true_class(tmp_path: Path) -> None:
    sure, lost = ConfusionMatrix(3), ConfusionMatrix(3)
    sure.counts += np.eye(3, dtype=np.int64) * 2_000_000
    lost.missed += 5
    shades = []
    for name, confusion in (("sure", sure), ("lost", lost)):
        figures.save_confusion(confusion, NAMES, f"{name}\nMIoU", tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as image:
            shades.append((image.width, np.asarray(image.convert("RGB"))))
    (narrow, with_diagonal), (wide, with_column) = shades
    assert wide > narrow  # a column of its own for pixels without a label
    darkest = (8, 48, 107)
    for pixels in (with_diagonal, with_column):
        assert (pixels == darkest).all(2).mean() > 0.05


def test_missing_matplotlib_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    figures.require_matplotlib()
    monkeypatch.setattr(figures.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ReportError, match=r"pip install 'darefine\[train\]'"):
        figures.require_matplotlib()
