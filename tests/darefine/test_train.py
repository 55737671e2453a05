"""`darefine train` as it is typed: from an index to weights that evaluate."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from darefine.cli.main import main
from model.card import ModelCard
from model.data.index import SlideIndex
from model.training.trainer import TrainProgress
from tests.darefine.test_prepare import BENIGN, INVASIVE, prepare, write_slide
from tests.model.data.image_scope import Outline, write_xml

IN_SITU = Outline("Carcinoma in situ", [(40, 560), (480, 560), (480, 1000), (40, 1000)])


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three slides with all four classes, planned."""
    folder = tmp_path_factory.mktemp("slides")
    for name in ("x", "y", "z"):
        write_slide(folder, name)
        write_xml(folder / f"{name}.xml", [BENIGN, IN_SITU, INVASIVE], mpp=0.934)
    answer = prepare("bach", folder, "--validation", "y", "--test", "z", "--slices", 2, 1, 2)
    assert answer.exit_code == 0, answer.output
    return folder / "darefine-index" / "index.json"


@pytest.mark.slow
def test_by_the_papers_recipe_from_index_to_scores(index: Path, tmp_path: Path) -> None:
    out = tmp_path / "weights" / "mine"
    answer = run("train", out, "--data", index, "--epochs", 1, "--batch", 2, "--log", tmp_path / "log")
    assert answer.exit_code == 0, answer.output
    card = ModelCard.load(out.with_suffix(".json"))
    assert [entry.name for entry in card.classes] == ["normal", "benign", "in situ", "invasive"]
    assert not card.phantom
    assert card.training["steps"] == 3  # three stages of an epoch, two slices a step
    assert len(card.training["validation_miou"]) == 3
    assert [path.name.split(".")[:3] for path in (tmp_path / "log").iterdir()] == [
        ["events", "out", "tfevents"]
    ]
    scores = run("evaluate", "--data", index, "--weights", out.with_suffix(".json"), "--json")
    assert scores.exit_code == 0, scores.output
    (model,) = json.loads(scores.stdout)["models"]
    assert (model["name"], model["sha256"]) == ("mine", card.weights.sha256)
    planned = SlideIndex.load(index)
    assert np.sum(model["total"]["all"]["confusion"]) == sum(
        one.rect.width * one.rect.height * (1 - one.shares[0]) for one in planned.test
    )
    again = run("train", out, "--data", index)
    assert again.exit_code == 2
    assert "--overwrite" in again.output


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_save_the_step_and_the_same_command_goes_on(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    command = ("train", tmp_path / "mine", "--data", index, "--epochs", 1, "--batch", 2)
    steps: list[int] = []
    before = signal.getsignal(number)

    def press(now: TrainProgress) -> None:
        steps.append(now.step)
        if steps == [1]:
            signal.raise_signal(number)

    monkeypatch.setattr("darefine.cli.train._training_bar", lambda *_: press)
    stopped = run(*command)
    assert stopped.exit_code == 1
    assert "stopped after step 1 of 3, which is saved" in stopped.output
    assert signal.getsignal(number) is before
    assert run(*command).exit_code == 0
    assert steps == [1, 2, 3]


@pytest.mark.slow
def test_sigterm_to_torchrun_saves_and_tells_the_command_that_goes_on(index: Path, tmp_path: Path) -> None:
    options = ["--data", str(index), "--epochs", "200", "--batch", "2", "--device", "cpu"]
    command = ["torchrun", "--nproc-per-node=2", "-m", "darefine", "train", str(tmp_path / "mine"), *options]
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": scripts}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        state = tmp_path / "mine.state.safetensors"
        while not state.exists() and process.poll() is None:
            time.sleep(0.05)
        process.terminate()
        _, told = process.communicate(timeout=120)
    assert "which is saved. Go on with:" in told
    assert " ".join(command) in told
    assert state.exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--imagenet", "nowhere.pth"), "nowhere.pth"),
        (("--network", "resnet18"), "resnet50-50-attention"),
        (("--second-input", "dual", "--network", "unet"), "unet has one input"),
    ],
)
def test_what_cannot_be_is_told_without_a_traceback(
    index: Path, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    answer = run("train", tmp_path / "mine", "--data", index, *arguments)
    assert answer.exit_code in {1, 2}
    assert isinstance(answer.exception, SystemExit)
    assert told in answer.output


@pytest.mark.slow
def test_the_card_of_a_network_trained_from_scratch_on_real_annotations_says_so(
    index: Path, tmp_path: Path
) -> None:
    out = tmp_path / "own"
    answer = run(
        "train",
        out,
        "--data",
        index,
        "--recipe",
        "from-scratch",
        "--steps",
        1,
        "--second-input",
        "dual",
        "--context",
        "centred",
    )
    assert answer.exit_code == 0, answer.output
    card = ModelCard.load(out.with_suffix(".json"))
    assert not card.phantom
    assert "phantom" not in f"{card.title} {card.description} {card.intended_use}"
    assert card.classes == SlideIndex.load(index).classes
    assert card.training["source"] == "bach"
    prepared = SlideIndex.load(index).input
    margin_px = prepared.halo_px
    assert card.input == replace(prepared, context="centred", halo_px=16, context_margin_px=margin_px)
    assert "It sees the surroundings of the slice, centred on it, as well." in card.description
