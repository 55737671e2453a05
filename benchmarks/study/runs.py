"""Run of the study: a network trained from one seed and scored on the test slices."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from model.card import ModelCard
from model.data.index import SlideIndex
from model.evaluation.benchmark import Task, evaluate_index
from model.evaluation.evaluate import Evaluation
from model.evaluation.report import confusion_json
from model.inference.device import choose_device
from model.network.flops import network_cost
from model.training.config import TrainConfig
from model.training.trainer import TrainProgress, train
from workers.bench.measure import machine

from .plan import Plan
from .recipes import Stem, config_of, fingerprint, stems_of
from .rows import SIZES, Row

Progress = Callable[[str, float], None]
"""Callback that is told what is being done, and the fraction of it done."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Folder, device and threads of runs."""

    work: Path
    """Folder for slides, weights and the states of unfinished trainings."""
    device: str = "auto"
    threads: int = 1
    """Threads that read slides ahead."""

    @property
    def weights(self) -> Path:
        """Folder of weights and cards."""
        return self.work / "weights"


def perform(
    row: Row, seed: int, plan: Plan, index: SlideIndex, settings: RunSettings, progress: Progress
) -> dict[str, Any]:
    """Train, or go on where an earlier attempt was killed, then score; return what goes into the results.

    Raises:
        ModelError: from training or evaluation.
        WsiError: when a slide cannot be read.
    """
    config, mark = config_of(row, seed, plan), fingerprint(row, seed, plan)
    stems = stems_of(row, seed, plan)
    stem_cards = [
        _finished(stem.config, stem.mark, settings)
        or _trained(stem.config, stem.mark, (), index, settings, progress)
        for stem in stems
    ]
    card = _finished(config, mark, settings) or _trained(config, mark, stems, index, settings, progress)
    cards = [settings.weights / f"{card.name}.json"]
    (evaluation,), _ = evaluate_index(
        cards,
        Task.of(index, "test"),
        examples=0,
        device=settings.device,
        precision=SIZES[plan.network].precision,
        progress=lambda name, done: progress(f"{name} test", done),
    )
    return {
        "row": row.name,
        "seed": seed,
        "fingerprint": mark,
        "steps": sum(stem.config.steps for stem in stems) + config.steps,
        "stem_seconds": sum(stem_card.training["seconds"] for stem_card in stem_cards),
        **_facts(config, evaluation),
    }


def _finished(config: TrainConfig, mark: str, settings: RunSettings) -> ModelCard | None:
    """Return the card if an attempt was killed after the training."""
    path = settings.weights / f"{config.card.name}.json"
    if not path.exists():
        return None
    card = ModelCard.load(path)
    return card if card.training.get("study") == mark else None


def _trained(
    config: TrainConfig,
    mark: str,
    stems: Sequence[Stem],
    index: SlideIndex,
    settings: RunSettings,
    progress: Progress,
) -> ModelCard:
    def start(network: nn.Module) -> None:
        for stem in stems:
            load_stem(network, settings.weights / f"{stem.config.card.name}.safetensors", stem.teaches)

    def show(now: TrainProgress) -> None:
        progress(f"{config.card.name} training", now.step / now.steps)

    # Without the test slides: training would score all of them, every pixel, for the card.
    without_test = replace(index, cohort=replace(index.cohort, test=()), test=())
    card = train(
        config,
        without_test,
        settings.weights,
        start=start if stems else None,
        device=settings.device,
        threads=settings.threads,
        progress=show,
        provenance={"study": mark},
    )
    assert card is not None, "one process trains"
    return card


def load_stem(network: nn.Module, path: Path, teaches: Mapping[str, str]) -> None:
    """Give a network the weights of a stem that `Stem.teaches` names; its others stay as they are.

    A light decoder has no place for the units behind the stem's last reduction.
    """
    own, stem = network.state_dict().keys(), load_file(path)
    taught = {
        prefix + name.removeprefix(source): tensor
        for prefix, source in teaches.items()
        for name, tensor in stem.items()
        if name.startswith(source)
    }
    network.load_state_dict({name: x for name, x in taught.items() if name in own}, strict=False)


def _facts(config: TrainConfig, evaluation: Evaluation) -> dict[str, Any]:
    card, total = evaluation.card, evaluation.total
    names = tuple(entry.name for entry in card.classes)
    cost = network_cost(card.network, classes=len(names))
    return {
        "network": asdict(card.network),
        "recipe": config.to_json(),
        "parameters": cost.parameters,
        "slice_gflop": round(cost.slice_gflop, 3),
        "context_gflop": None if cost.context_gflop is None else round(cost.context_gflop, 3),
        "train_seconds": card.training["seconds"],
        "test_seconds": round(evaluation.seconds, 1),
        "sha256": card.weights.sha256,
        "patches": total.patches,
        "mixed_patches": total.mixed_patches,
        "context": card.input.context,
        "all": confusion_json(total.all, names),
        "mixed": confusion_json(total.mixed, names),
        "slides": {
            name: {"all": tally.all.counts.tolist(), "mixed": tally.mixed.counts.tolist()}
            for name, tally in evaluation.slides
        },
        "calibration": None if evaluation.calibration is None else asdict(evaluation.calibration),
        "machine": {**machine(), "device": _device_name(evaluation.device), "dtype": evaluation.dtype},
    }


def _device_name(device: str) -> str:
    chosen = choose_device(device)
    return torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else device
