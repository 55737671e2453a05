"""Train on slides from disk to a model that loads; kill and resume; evaluate the result."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import tifffile
import torch

from model.card import ModelCard
from model.data.batch import BatchSpec
from model.data.index import SlideIndex
from model.errors import DivergedError, ResumeError, TrainingStoppedError
from model.inference.segmenter import Segmenter
from model.training.config import Stage, TrainConfig
from model.training.forecast import StageCost
from model.training.trainer import TrainProgress, train
from tests.model.oracle import confusion_of
from wsi.palette import LabelClass


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def config(card: ModelCard) -> TrainConfig:
    return TrainConfig(
        card,
        stages=(Stage(4, BatchSpec(64, patches=1, slices=2)), Stage(2, BatchSpec(96, patches=1, slices=2))),
        recalibration=Stage(2, BatchSpec(128, patches=1, slices=2)),
        validate_every=4,
        checkpoint_every=2,
        dropout=0.3,
    )


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_training_leaves_weights_and_a_card_that_load_and_score_as_written(
    config: TrainConfig, index: SlideIndex, tmp_path: Path
) -> None:
    seen: list[TrainProgress] = []
    out = tmp_path / "out"
    card = train(config, index, out, progress=seen.append, provenance={"command": "train it"})
    assert sorted(files_of(out)) == ["tiny.json", "tiny.safetensors"]
    assert [progress.step for progress in seen] == [1, 2, 3, 4, 5, 6]
    assert [progress.step for progress in seen if progress.validation] == [4, 6]
    assert card.training["command"] == "train it"
    assert card.training["cohort"] == {"train": ["a.tif", "b.tif"], "validation": ["c.tif"]}
    assert [step for step, _ in card.training["curve"]] == [1, 2, 3, 4, 5, 6]
    assert str(tmp_path) not in (out / "tiny.json").read_text()
    segmenter = Segmenter.load(out / "tiny.json", device="cpu")
    confusion = confusion_of(segmenter, index.cohort.validation)
    assert confusion.counts.tolist() == card.metrics["confusion"]
    assert confusion.counts.sum() == 704 * (640 - 32)  # every pixel with truth, edges included
    assert ModelCard.load(out / "tiny.json").metrics["miou"] == card.metrics["miou"]


class KilledError(Exception):
    """Stands for kill -9."""


def killed_after(step: int) -> Callable[[TrainProgress], None]:
    def kill(progress: TrainProgress) -> None:
        if progress.step == step:
            raise KilledError

    return kill


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_killed_training_resumes_to_the_same_weights(
    config: TrainConfig, index: SlideIndex, tmp_path: Path, optimizer: Any
) -> None:
    config = replace(config, optimizer=optimizer, learning_rate=0.01)
    undisturbed = train(config, index, tmp_path / "undisturbed")
    steps: list[int] = []
    for step in (3, 5):  # states are saved at 2 and 4
        with pytest.raises(KilledError):
            train(config, index, tmp_path / "killed", progress=killed_after(step))
    resumed = train(config, index, tmp_path / "killed", progress=lambda p: steps.append(p.step))
    assert steps == [5, 6]
    assert resumed.weights.sha256 == undisturbed.weights.sha256
    assert resumed.training["curve"] == undisturbed.training["curve"]


def test_a_training_killed_after_its_last_step_is_finished_by_the_next(
    config: TrainConfig, index: SlideIndex, tmp_path: Path
) -> None:
    undisturbed = train(config, index, tmp_path / "undisturbed")
    with pytest.raises(KilledError):
        train(config, index, tmp_path / "killed", progress=killed_after(6))
    assert not (tmp_path / "killed" / "tiny.json").exists()
    steps: list[int] = []
    resumed = train(config, index, tmp_path / "killed", progress=lambda p: steps.append(p.step))
    assert steps == []
    assert resumed.weights.sha256 == undisturbed.weights.sha256
    assert resumed.training["validation_miou"] == undisturbed.training["validation_miou"]


@pytest.mark.slow
def test_a_training_that_is_stopped_loses_no_step(
    config: TrainConfig, index: SlideIndex, tmp_path: Path
) -> None:
    undisturbed = train(config, index, tmp_path / "undisturbed")
    steps, asked = list[int](), iter([False, False, True])  # states are saved at 1, 2 and 4
    with pytest.raises(TrainingStoppedError, match="stopped after step 3 of 6, which is saved"):
        train(config, index, tmp_path / "stopped", should_stop=lambda last: next(asked))
    resumed = train(config, index, tmp_path / "stopped", progress=lambda p: steps.append(p.step))
    assert steps == [4, 5, 6]
    assert resumed.weights.sha256 == undisturbed.weights.sha256


@pytest.mark.parametrize(("seconds", "saved"), [(1e9, 1), (0.0, 3)])
def test_states_are_saved_at_the_first_step_and_then_by_time(
    config: TrainConfig,
    index: SlideIndex,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    saved: int,
) -> None:
    monkeypatch.setattr("model.training.trainer.SAVE_EVERY_S", seconds)
    config = replace(config, checkpoint_every=1000)
    with pytest.raises(KilledError):
        train(config, index, tmp_path, progress=killed_after(4))
    steps: list[int] = []
    with pytest.raises(TrainingStoppedError):
        train(
            config,
            index,
            tmp_path,
            progress=lambda now: steps.append(now.step),
            should_stop=lambda last: True,
        )
    assert steps == [(4 if saved == 3 else saved) + 1]


@pytest.mark.slow
def test_a_forecast_changes_nothing_and_counts_the_steps_that_are_left(
    config: TrainConfig, index: SlideIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = config.stages[0], replace(config.stages[0], steps=2)
    config = replace(config, stages=(replace(first, steps=3), second), recalibration=None)
    plain = train(config, index, tmp_path / "plain")
    monkeypatch.setattr("model.training.forecast.FEWEST_STEPS", 0)
    told: list[list[StageCost]] = []
    asked = iter([False, True])
    with pytest.raises(TrainingStoppedError):
        train(
            config,
            index,
            tmp_path / "told",
            forecast=lambda costs: told.append([*costs]),
            should_stop=lambda last: next(asked),
        )
    card = train(config, index, tmp_path / "told", forecast=lambda costs: told.append([*costs]))
    assert [[cost.steps for cost in costs] for costs in told] == [[3, 2], [1, 2]]
    assert all(cost.step_s > 0 and cost.seconds == cost.steps * cost.step_s for cost in told[0])
    assert plain is not None
    assert card is not None
    assert card.weights.sha256 == plain.weights.sha256


@pytest.mark.slow
def test_the_context_encoder_can_learn_alone_and_a_kill_then_changes_nothing(
    config: TrainConfig, index: SlideIndex, tmp_path: Path
) -> None:
    alone = Stage(4, BatchSpec(64, patches=1, slices=0), context_loss=1.0)
    config = replace(config, optimizer="adamw", recalibration=None)
    both = replace(config, stages=(alone, *config.stages))
    undisturbed = train(both, index, tmp_path / "undisturbed")
    with pytest.raises(KilledError):
        train(both, index, tmp_path / "killed", progress=killed_after(5))
    assert train(both, index, tmp_path / "killed").weights.sha256 == undisturbed.weights.sha256
    train(replace(config, stages=(alone,)), index, tmp_path / "alone")
    start = train(replace(config, stages=(replace(alone, steps=0),)), index, tmp_path / "start")
    first, then = (
        safetensors.torch.load_file(tmp_path / name / start.weights.file) for name in ("start", "alone")
    )
    moved = {name.split(".")[0] for name in first if not torch.equal(first[name], then[name])}
    assert moved == {"context_encoder", "context_adapt"}


@pytest.mark.slow
def test_a_seed_decides_everything(config: TrainConfig, index: SlideIndex, tmp_path: Path) -> None:
    config = replace(config, stages=config.stages[1:])
    hashes = [
        train(replace(config, seed=seed), index, tmp_path / str(k)).weights.sha256
        for k, seed in enumerate((1, 1, 2))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_state_of_another_training_is_refused(
    config: TrainConfig, index: SlideIndex, tmp_path: Path
) -> None:
    with pytest.raises(KilledError):
        train(config, index, tmp_path / "out", progress=killed_after(3))
    with pytest.raises(ResumeError, match="other settings"):
        train(replace(config, learning_rate=0.1), index, tmp_path / "out")
    (tmp_path / "out" / "tiny.state.safetensors").write_text("x")
    with pytest.raises(ResumeError, match="damaged"):
        train(config, index, tmp_path / "out")


def test_a_diverging_training_stops_and_says_why(
    config: TrainConfig, index: SlideIndex, tmp_path: Path
) -> None:
    config = replace(
        config, stages=(Stage(60, BatchSpec(64, patches=1, slices=1)),), learning_rate=1e30, clip_norm=1e30
    )
    with pytest.raises(DivergedError, match="lower learning rate"):
        train(config, index, tmp_path / "out")
    assert not (tmp_path / "out" / "tiny.json").exists()
    for path in (tmp_path / "out").glob("tiny*.safetensors"):  # what a state holds is from before
        assert all(tensor.isfinite().all() for tensor in safetensors.torch.load_file(path).values())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_class_nobody_has_is_named_and_never_chosen(
    config: TrainConfig, index: SlideIndex, tmp_path: Path, optimizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    unseen = LabelClass(3, "unseen", (0, 255, 0))
    classes = (*config.card.classes[:2], unseen, replace(config.card.classes[2], value=4))
    for pair in index.cohort.train:
        truth = tifffile.imread(pair.truth)
        tifffile.imwrite(pair.truth, np.where(truth == 3, 4, truth).astype(np.uint8), tile=(256, 256))
    card = replace(config.card, classes=classes)
    config = replace(config, card=card, optimizer=optimizer, weight_decay=0.1, learning_rate=1e-3)
    trained = train(config, replace(index, classes=classes), tmp_path / "out")
    assert "no slide to train on has unseen: the network will never choose it" in caplog.text
    assert trained.untrained == (3,)
    assert np.array(trained.metrics["confusion"])[:, 2].sum() == 0
    losses = [loss for _, loss in trained.training["curve"]]
    assert max(losses) < 100  # the silent logit is in no loss
    network = Segmenter.load(tmp_path / "out" / "tiny.json", device="cpu").network
    assert network.classify.bias[2] < -5000
    assert not network.classify.weight[2].any()


@pytest.mark.slow
def test_training_learns_what_colours_tell(config: TrainConfig, index: SlideIndex, tmp_path: Path) -> None:
    config = replace(
        config,
        stages=(Stage(60, BatchSpec(64, patches=1, slices=4)),),
        recalibration=Stage(8, BatchSpec(256, patches=1, slices=2)),
        optimizer="adamw",
        learning_rate=5e-3,
        validate_every=0,
        dropout=0.0,
        stain_jitter=0.0,
    )
    card = train(config, index, tmp_path / "out")
    assert card.metrics["accuracy"] > 0.6  # chance is a third
    json.dumps(card.to_json(), allow_nan=False)
    assert np.isfinite([loss for _, loss in card.training["curve"]]).all()
