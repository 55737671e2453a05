"""`darefine prepare images` as it is typed, and training on what it makes."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from darefine.cli.main import main
from model.card import ModelCard
from model.data.index import SlideIndex

DESCRIPTION = {
    "data_set": {"name": "Trial", "tissue": "squares, drawn", "attribution": "A. Nobody, CC BY 4.0"},
    "classes": [
        {"name": "ground", "colour": [200, 150, 180], "codes": [1]},
        {"name": "lump", "colour": [90, 40, 120], "codes": [2, 3]},
    ],
}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images of five patients, named as BCSS names its regions, and a CSV of them."""
    rng = np.random.default_rng(1)
    rows = []
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number, split in enumerate(("train", "train", "train", "val", "test")):
        name = f"TCGA-A1-A0S{number}-DX1_xmin45749_ymin25055_MPP-0.9300"
        codes = np.full((120, 160), 1, np.uint8)
        codes[30:90, 20 * number : 20 * number + 60] = 2
        noise = rng.normal(0, 6, (120, 160, 3))
        pixels = np.where(codes[..., None] == 1, (220, 160, 190), (90, 40, 120)) + noise
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(codes).save(tmp_path / "masks" / f"{name}.png")
        rows.append((f"images/{name}.png", f"masks/{name}.png", split, number))
    with (tmp_path / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "mask", "split", "patient"), *rows])
    (tmp_path / "classes.json").write_text(json.dumps(DESCRIPTION))
    return tmp_path


def prepare(folder: Path, *arguments: object) -> Result:
    common = ("--classes", folder / "classes.json", "--out", folder / "out")
    return run("prepare", "images", folder, *common, *arguments)


def test_by_file_names(folder: Path) -> None:
    answer = prepare(folder, "--validation", "TCGA-A1-A0S3", "--test", 0.2)
    assert answer.exit_code == 0, answer.output
    index = SlideIndex.load(folder / "out" / "index.json")
    assert [len(pairs) for pairs in (index.cohort.train, index.cohort.validation, index.cohort.test)] == [
        3,
        1,
        1,
    ]
    assert index.cohort.validation[0].group == "TCGA-A1-A0S3"
    area = 60 * 60 * 0.93**2 / 1e6
    for told in ("lump", f"{3 * area:.2f}", "index.json in", "darefine train"):
        assert told in answer.output


def test_what_is_wrong_is_told_without_a_traceback(folder: Path) -> None:
    for arguments, message in (
        (("--leave-out", "split"), "is not COLUMN=VALUE"),
        (("--index", folder / "index.csv", "--group", "ward"), "index.csv lacks ward"),
        (("--index", folder / "classes.json"), "lacks rows"),
        (("--images", "none"), "is no folder"),
    ):
        answer = prepare(folder, *arguments)
        assert answer.exit_code != 0
        assert message in " ".join(answer.output.split())
        assert isinstance(answer.exception, SystemExit)


@pytest.mark.slow
def test_the_card_of_a_network_trained_on_images_says_what_it_knows(folder: Path) -> None:
    assert prepare(folder, "--index", folder / "index.csv").exit_code == 0
    data = folder / "out" / "index.json"
    answer = run("train", folder / "mine", "--data", data, "--steps", 2, "--device", "cpu")
    assert answer.exit_code == 0, answer.output
    card = ModelCard.load(folder / "mine.json")
    assert not card.phantom
    assert card.network.second_input == "single"
    assert "squares, drawn" in card.title
    assert "say nothing of context" in card.description
    assert card.training["cohort"]["test"] == ["patient 4"]
    assert card.training["data_set"]["attribution"] == DESCRIPTION["data_set"]["attribution"]
    assert np.sum(card.metrics["confusion"]) == 120 * 160
