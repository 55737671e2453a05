"""`darefine evaluate` from the command line: files in, tables, JSON and pictures out."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image

from darefine.cli.main import main
from model.card import ModelCard
from model.data.index import PlannedSlice, SlideIndex
from model.data.splits import Cohort, SlideWithTruth
from model.evaluation import figures
from model.training.from_scratch_recipe import PHANTOM_INPUT
from tests.darefine.tiny_card import DEMO, write_tiny_card
from wsi.geometry import Rect

PICTURES = {"figure.png", "results.json", "results.md"}


@pytest.fixture(autouse=True)
def on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    torch.set_num_threads(1)


def tiff(path: Path, pixels: NDArray[np.uint8], description: str | None = None) -> Path:
    per_cm = 1e4 / PHANTOM_INPUT.mpp
    tifffile.imwrite(
        path,
        pixels,
        photometric="rgb" if pixels.ndim == 3 else "minisblack",
        tile=(256, 256),
        compression="deflate",
        resolution=(per_cm, per_cm),
        resolutionunit="CENTIMETER",
        description=description,
        metadata=None,
    )
    return path


@pytest.fixture
def card(tmp_path: Path) -> Path:
    return write_tiny_card(tmp_path, mpp=PHANTOM_INPUT.mpp)


@pytest.fixture
def index(card: Path, tmp_path: Path) -> Path:
    """Three slides of 600 px; slices are planned for the test set only."""
    truth = np.repeat(np.arange(600, dtype=np.uint8) // 150 + 1, 600).reshape(600, 600)
    pairs = []
    for name in ("a", "b", "c"):
        pixels = np.random.default_rng(len(pairs)).integers(0, 256, (600, 600, 3), dtype=np.uint8)
        pairs.append(
            SlideWithTruth(
                tiff(tmp_path / f"{name}.tif", pixels), tiff(tmp_path / f"{name}-truth.tif", truth)
            )
        )
    model = ModelCard.load(card)
    planned = PlannedSlice(0, Rect(0, 0, 512, 512), Rect(0, 100, 128, 128), (0.0, 0.4, 0.6, 0.0, 0.0))
    cohort = Cohort((pairs[0],), (pairs[1],), (pairs[2],))
    SlideIndex(model.classes, model.input, cohort, (), (), (planned,), "noise").save(tmp_path / "index.json")
    return tmp_path / "index.json"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *(str(argument) for argument in arguments)])


def test_networks_on_planned_slices_leave_tables_and_pictures(
    index: Path, card: Path, tmp_path: Path
) -> None:
    other = replace(ModelCard.load(card), name="other")
    other.save(tmp_path / "other.json")
    out = tmp_path / "deep" / "out"
    answer = run("--data", index, "--weights", card, "--weights", tmp_path / "other.json", "--out", out)
    assert answer.exit_code == 0, answer.output
    assert "| ResNet18_18 (8 wide) | attention | dual  |" in answer.stdout
    names = {path.name for path in out.iterdir()}
    assert names == PICTURES | {"confusion-tiny.png", "confusion-other.png"}
    assert (out / "results.md").read_text() == answer.stdout
    results = json.loads((out / "results.json").read_text())
    assert (results["on"], results["set"], results["index"]["source"]) == ("slices", "test", "noise")
    assert [model["name"] for model in results["models"]] == ["tiny", "other"]
    assert np.sum(results["models"][0]["total"]["all"]["confusion"]) == 128 * 128
    assert str(tmp_path) not in (out / "results.json").read_text()
    with Image.open(out / "figure.png") as figure:
        assert figure.width > 4 * figures.PANEL_PX  # slide, truth, two networks


def test_whole_slides_as_json(index: Path, card: Path) -> None:
    arguments = ("--data", index, "--weights", card, "--set", "validation", "--patches", 1, "--json")
    answer = run(*arguments)
    assert answer.exit_code == 0, answer.output
    results = json.loads(answer.stdout)
    assert (results["on"], results["patches_per_slide"]) == ("slides", 1)
    assert results["models"][0]["total"]["patches"] == 1


def test_a_card_is_calibrated_anew(index: Path, card: Path) -> None:
    before = ModelCard.load(card)
    assert before.calibration is None
    answer = run("--data", index, "--weights", card, "--calibrate", "--json")
    assert answer.exit_code == 0, answer.output
    after = ModelCard.load(card)
    assert after.calibration is not None
    assert (after.calibration.fitted_on, after.calibration.measured_on) == ("validation", "test")
    assert replace(after, calibration=None) == before
    (model,) = json.loads(answer.stdout)["models"]
    assert model["calibration"]["temperature"] == after.calibration.temperature


LABELS = np.repeat(np.array([[0, 1, 2, 2]], np.uint8), 100, 0).repeat(50, 1)
TRUTH = np.repeat(np.array([[1, 1, 2, 1]], np.uint8), 100, 0).repeat(50, 1)
SERVED = json.dumps({"class_names": {"1": "normal", "2": "benign"}, "mpp": {"downsample": 1}})


def test_a_label_map_against_a_truth_tiff(tmp_path: Path) -> None:
    labels = tiff(tmp_path / "labels.tif", LABELS, SERVED)
    truth, out = tiff(tmp_path / "truth.tif", TRUTH), tmp_path / "out"
    answer = run("--labels", labels, "--truth", truth, "--out", out)
    assert answer.exit_code == 0, answer.output
    assert "are left out" in answer.stdout
    assert {path.name for path in out.iterdir()} == PICTURES | {"confusion-labels.png"}
    results = json.loads((out / "results.json").read_text())
    assert results["accuracy"] == pytest.approx(2 / 3, abs=1e-4)
    assert results["coverage"] == 0.75
    assert results["missed"] == [5000, 0]
    assert results["labels"]["made_by"]["class_names"]["2"] == "benign"


def test_missed_pixels_count_as_the_class_that_is_said(tmp_path: Path) -> None:
    files = (
        "--labels", tiff(tmp_path / "labels.tif", LABELS, SERVED),
        "--truth", tiff(tmp_path / "truth.tif", TRUTH),
    )  # fmt: skip
    for name, accuracy in (("normal", 0.75), ("benign", 0.5)):
        results = json.loads(run(*files, "--missed-as", name, "--json").stdout)
        assert (results["accuracy"], results["coverage"], results["missed_as"]) == (accuracy, 0.75, name)
    answer = run(*files, "--missed-as", "glass")
    assert answer.exit_code == 2
    assert "there are normal, benign" in answer.output


def test_a_card_names_the_classes_of_a_map_that_does_not(tmp_path: Path) -> None:
    labels, truth = tiff(tmp_path / "labels.tif", LABELS), tiff(tmp_path / "truth.tif", TRUTH)
    answer = run("--labels", labels, "--truth", truth, "--json")
    assert answer.exit_code == 1
    assert "--weights CARD.json" in answer.output
    results = json.loads(run("--labels", labels, "--truth", truth, "--weights", DEMO, "--json").stdout)
    assert results["classes"] == ["normal", "benign", "in situ", "invasive"]
    assert results["iou"]["invasive"] is None


@pytest.mark.parametrize(
    "given",
    [(), ("--data",), ("--labels",), ("--data", "--labels", "--truth"), ("--data", "--weights", "--truth")],
)
def test_what_does_not_go_together_is_refused(given: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    answer = run(*(part for option in given for part in (option, tmp_path / "file")))
    assert answer.exit_code == 2
    assert "--data INDEX --weights CARD" in answer.output


def test_errors_are_told_without_a_traceback(card: Path, tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text("{}")
    answer = run("--data", tmp_path / "index.json", "--weights", card)
    assert answer.exit_code == 1
    assert "darefine prepare" in answer.output


def test_pictures_without_matplotlib_are_refused_before_the_work(
    index: Path, card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures.importlib.util, "find_spec", lambda _: None)
    answer = run("--data", index, "--weights", card, "--out", tmp_path / "out")
    assert answer.exit_code == 1
    assert "darefine[train]" in answer.output
    assert not (tmp_path / "out").exists()
