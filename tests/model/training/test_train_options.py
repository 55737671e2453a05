"""Options of a training: planned slices, start, precision, best weights, networks, log, several processes."""

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from model.card import ModelCard
from model.data.batch import BatchSpec
from model.data.index import PlannedSlice, SlideIndex
from model.errors import CohortError, TrainingStoppedError
from model.network.zoo import NETWORKS
from model.training.config import Stage, TrainConfig
from model.training.paper_recipe import paper_card, paper_recipe
from model.training.tensorboard import TrainBoard
from model.training.trainer import TrainProgress, train
from wsi.geometry import Rect


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def config(card: ModelCard) -> TrainConfig:
    return TrainConfig(
        card,
        stages=(Stage(3, BatchSpec(64, patches=2, slices=1)),),
        recalibration=None,
        learning_rate=0.01,
        validate_every=0,
        dropout=0.0,
    )


@pytest.fixture
def planned(index: SlideIndex) -> SlideIndex:
    """The index with two slices a slide, well inside its truth."""
    patch = Rect(0, 0, 512, 512)
    slices = tuple(
        PlannedSlice(slide, patch, Rect(x, 64, 128, 128), (0.0, 1.0, 0.0, 0.0))
        for slide in (0, 1)
        for x in (0, 192)
    )
    return replace(index, train=slices, validation=slices[:2])


def weights_of(folder: Path, name: str = "tiny") -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / f"{name}.safetensors")


def test_planned_slices_are_what_is_trained_and_validated_on(
    config: TrainConfig, planned: SlideIndex, tmp_path: Path
) -> None:
    seen: list[TrainProgress] = []
    stage = Stage(2, BatchSpec(128, patches=4, slices=1, scales=(0.5, 1.0)))
    config = replace(config, stages=(stage,), validate_every=1)
    card = train(config, planned, tmp_path, progress=seen.append)
    assert card is not None
    assert card.metrics["confusion"] is not None
    # Two slices of 128 px on the held-out slide.
    assert sum(map(sum, card.metrics["confusion"])) == 2 * 128 * 128
    assert [len(progress.examples) for progress in seen] == [1, 1]
    assert [step for step, _ in card.training["validation_miou"]] == [1, 2]


@pytest.mark.slow
def test_the_weights_that_scored_best_are_kept(
    config: TrainConfig, index: SlideIndex, tmp_path: Path
) -> None:
    learning = Stage(20, BatchSpec(64, patches=1, slices=4), learning_rate=5e-3)
    forgetting = Stage(10, BatchSpec(64, patches=1, slices=4), learning_rate=0.1)
    config = replace(
        config,
        stages=(learning, forgetting),
        optimizer="adamw",
        stain_jitter=0.0,
        validate_every=10,
        validation_patches=None,
        recalibration=None,
        batch_norm_momentum=0.3,
    )
    card = train(config, index, tmp_path)
    assert card is not None
    scores = [miou for _, miou in card.training["validation_miou"]]
    assert scores[-1] < max(scores)
    assert card.metrics["miou"] == pytest.approx(max(scores), abs=0.02)  # float16 rounds the kernels
    assert sorted(path.name for path in tmp_path.glob("tiny*")) == ["tiny.json", "tiny.safetensors"]


def test_encoders_start_where_told_and_batch_norms_stay_frozen(
    config: TrainConfig, index: SlideIndex, tmp_path: Path
) -> None:
    given: dict[str, torch.Tensor] = {}

    def start(network: nn.Module) -> None:
        with torch.no_grad():
            for name, tensor in network.state_dict().items():
                if "running_var" in name:
                    tensor.fill_(2.0)
                elif name.startswith("encoder.conv1"):
                    tensor.mul_(0.5)
        given.update({name: tensor.clone() for name, tensor in network.state_dict().items()})

    train(replace(config, frozen_batch_norm=True, encoder_factor=0.0), index, tmp_path, start=start)
    trained = weights_of(tmp_path)
    for name, tensor in given.items():
        if name.startswith(("encoder.", "context_encoder.")):
            torch.testing.assert_close(trained[name].float(), tensor.float(), atol=1e-3, rtol=1e-3)
    assert not torch.equal(trained["classify.weight"].float(), given["classify.weight"].half().float())


def test_bfloat16_trains_to_about_the_weights_of_float32(
    config: TrainConfig, index: SlideIndex, tmp_path: Path
) -> None:
    full, half = (
        train(replace(config, precision=precision), index, tmp_path / precision)
        for precision in ("fp32", "bf16")
    )
    assert full is not None
    assert half is not None
    assert half.training["recipe"]["precision"] == "bf16"
    assert half.weights.sha256 != full.weights.sha256
    for (step, loss), (same_step, other) in zip(full.training["curve"], half.training["curve"], strict=True):
        assert step == same_step
        assert loss == pytest.approx(other, rel=0.1)
    exact = weights_of(tmp_path / "fp32")
    for name, tensor in weights_of(tmp_path / "bf16").items():
        if tensor.ndim == 4:
            torch.testing.assert_close(tensor.float(), exact[name].float(), atol=2e-2, rtol=0)


@pytest.mark.parametrize("name", ["unet", "resnet50-single", "resnet50-50-multi-size", "resnet50-50-aligned"])
def test_every_kind_of_network_trains(
    config: TrainConfig, index: SlideIndex, tmp_path: Path, name: str
) -> None:
    network = NETWORKS[name].config
    if network.architecture == "unet":
        network = replace(network, encoder_width=8)
    else:
        network = replace(network, encoder_depth=18, context_depth=18, encoder_width=8, decoder_width=8)
    config = replace(
        config,
        card=replace(config.card, network=network),
        stages=(replace(config.stages[0], context_loss=0.5),),
    )
    fresh: dict[str, torch.Tensor] = {}

    def start(network: nn.Module) -> None:
        fresh.update({name: tensor.clone() for name, tensor in network.state_dict().items()})

    card = train(config, index, tmp_path, start=start)
    assert card is not None
    assert ModelCard.load(tmp_path / "tiny.json").network == network
    trained = weights_of(tmp_path)
    assert trained.keys() == fresh.keys()
    kernels = [name for name, tensor in fresh.items() if tensor.ndim == 4]
    assert [name for name in kernels if torch.equal(trained[name], fresh[name].half())] == []


def test_a_log_for_tensorboard(config: TrainConfig, index: SlideIndex, tmp_path: Path) -> None:
    with TrainBoard(tmp_path / "log", index.classes) as board:
        train(replace(config, validate_every=2), index, tmp_path, progress=board)
    events = EventAccumulator(str(tmp_path / "log")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3]
    assert [event.step for event in events.Scalars("validation/MIoU")] == [2, 3]
    assert set(events.Tags()["scalars"]) >= {f"validation IoU/{entry.name}" for entry in index.classes}
    (tag,) = events.Tags()["images"]
    assert tag.startswith("c.tif at")
    assert events.Images(tag)[0].width == 3 * events.Images(tag)[0].height


def test_the_paper_recipe_is_the_papers(planned: SlideIndex) -> None:
    card = paper_card("r50", NETWORKS["resnet50-50-attention"].config, planned)
    config = paper_recipe(card, slices=3000, imagenet=True)
    assert config.steps == 3 * 25 * 250
    assert [config.learning_rate_at(step) for step in (0, 6249, 6250, 12500, 18749)] == [
        5e-3,
        5e-3,
        2.5e-3,
        1e-3,
        1e-3,
    ]
    assert (config.optimizer, config.momentum, config.weight_decay) == ("sgd", 0.9, 1e-5)
    assert config.frozen_batch_norm
    assert config.encoder_factor == pytest.approx(0.1)
    assert not paper_recipe(card, slices=3000, imagenet=False).frozen_batch_norm


def test_classes_of_another_kind_are_refused(config: TrainConfig, index: SlideIndex, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="class"):
        train(config, replace(index, classes=index.classes[:2]), tmp_path)


def _join(rank: int, port: int) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)


def _rank(rank: int, port: int, config: TrainConfig, index: SlideIndex, out: Path) -> None:
    _join(rank, port)
    card = train(config, index, out, device="cpu")
    assert (card is None) == (rank == 1)


def _stopped_rank(rank: int, port: int, config: TrainConfig, index: SlideIndex, out: Path) -> None:
    _join(rank, port)
    asked = iter([False, rank == 1, False, False])
    with pytest.raises(TrainingStoppedError, match="after step 2 of"):
        train(config, index, out, device="cpu", should_stop=lambda last: next(asked))


@pytest.fixture
def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.slow
def test_two_ranks_learn_what_one_does(
    config: TrainConfig, planned: SlideIndex, tmp_path: Path, free_port: int
) -> None:
    # Batch norms would take their statistics from half a batch each.
    config = replace(config, frozen_batch_norm=True, optimizer="sgd", clip_norm=None)
    train(config, planned, tmp_path / "one")
    alone = weights_of(tmp_path / "one")
    torch.multiprocessing.spawn(_rank, (free_port, config, planned, tmp_path / "two"), nprocs=2)  # type: ignore[no-untyped-call]
    together = weights_of(tmp_path / "two")
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name].float(), tensor.float(), atol=2e-3, rtol=2e-3)


def test_two_ranks_stop_after_the_same_step_whichever_is_asked(
    config: TrainConfig, planned: SlideIndex, tmp_path: Path, free_port: int
) -> None:
    torch.multiprocessing.spawn(_stopped_rank, (free_port, config, planned, tmp_path), nprocs=2)  # type: ignore[no-untyped-call]
    assert [path.name for path in tmp_path.glob("tiny.*")] == ["tiny.state.safetensors"]


def test_two_ranks_recalibrate_batch_norms(
    config: TrainConfig, planned: SlideIndex, tmp_path: Path, free_port: int
) -> None:
    # The first rank recalibrates while the other one waits at the end: neither may wait for the other.
    config = replace(config, recalibration=Stage(2, BatchSpec(128, patches=1, slices=2)))
    torch.multiprocessing.spawn(_rank, (free_port, config, planned, tmp_path), nprocs=2)  # type: ignore[no-untyped-call]
    assert ModelCard.load(tmp_path / "tiny.json").training["ranks"] == 2
    counted = [
        tensor for name, tensor in weights_of(tmp_path).items() if name.endswith("num_batches_tracked")
    ]
    assert counted
    assert {int(tensor) for tensor in counted} == {2}
    assert sorted(path.name for path in tmp_path.glob("tiny*")) == ["tiny.json", "tiny.safetensors"]
