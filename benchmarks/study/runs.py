"""Run of the study: a network trained from one seed and scored on the test slices.

Networks that see a context start from one context encoder a seed, the stem, which is trained alone. So the
share of the budget that it takes is paid once for all of them.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
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
from model.training.from_scratch_recipe import PHANTOM_INPUT, from_scratch_recipe, phantom_card
from model.training.trainer import TrainProgress, train
from workers.bench.measure import machine

from .plan import Plan
from .rows import SIZES, Row

SAVED_EVERY = 20
"""Steps between saved states: what is lost when a run is killed."""

STEM = ("context_encoder.", "context_adapt.3.")
"""Prefixes of the weights that the stem teaches."""

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


def run_name(row: str, seed: int) -> str:
    """Return the name of a run's card and files."""
    return f"study-{row}-seed{seed}"


def config_of(row: Row, seed: int, plan: Plan) -> TrainConfig:
    """Return the recipe of the demo weights with the plan's steps, without what the stem is taught.

    It is the same for every row but for what its network does not have.
    """
    geometry = replace(PHANTOM_INPUT, context=row.context)
    config = _recipe(phantom_card(run_name(row.name, seed), row.network, geometry), seed, plan)
    if row.network.sees_patch:
        config = replace(config, stages=config.stages[1:])
    return replace(config, shuffled_contexts=row.shuffled)


def stem_config(seed: int, plan: Plan) -> TrainConfig:
    """Return the recipe of the stem: the first stage of the demo weights', on contexts alone."""
    network = replace(SIZES[plan.network].base, second_input="dual", fusion="add")
    config = _recipe(phantom_card(run_name("stem", seed), network, PHANTOM_INPUT), seed, plan)
    return replace(config, stages=config.stages[:1], recalibration=None)


def _recipe(card: ModelCard, seed: int, plan: Plan) -> TrainConfig:
    return replace(from_scratch_recipe(card, steps=plan.steps, seed=seed), checkpoint_every=SAVED_EVERY)


def fingerprint(config: TrainConfig, plan: Plan) -> str:
    """Return the SHA-256 of all that is decided before a run begins."""
    stem = stem_config(config.seed, plan) if config.card.network.sees_patch else None
    parts = [config.to_json(), config.card.to_json(), asdict(plan), stem and stem.to_json()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def perform(
    row: Row, seed: int, plan: Plan, index: SlideIndex, settings: RunSettings, progress: Progress
) -> dict[str, Any]:
    """Train, or go on where an earlier attempt was killed, then score; return what goes into the results.

    Raises:
        ModelError: from training or evaluation.
        WsiError: when a slide cannot be read.
    """
    config = config_of(row, seed, plan)
    mark = fingerprint(config, plan)
    card = _finished(config, mark, settings) or _trained(config, plan, index, settings, progress)
    cards = [settings.weights / f"{card.name}.json"]
    (evaluation,), _ = evaluate_index(
        cards,
        Task.of(index, "test"),
        examples=0,
        device=settings.device,
        precision=SIZES[plan.network].precision,
        progress=lambda name, done: progress(f"{name} test", done),
    )
    return {"row": row.name, "seed": seed, "fingerprint": mark, **_facts(config, plan, evaluation)}


def _finished(config: TrainConfig, mark: str, settings: RunSettings) -> ModelCard | None:
    """Return the card if an attempt was killed after the training."""
    path = settings.weights / f"{config.card.name}.json"
    if not path.exists():
        return None
    card = ModelCard.load(path)
    return card if card.training.get("study") == mark else None


def _trained(
    config: TrainConfig, plan: Plan, index: SlideIndex, settings: RunSettings, progress: Progress
) -> ModelCard:
    start: Callable[[nn.Module], None] | None = None
    stem = stem_config(config.seed, plan)
    if config.card.network.sees_patch and config.card.name != stem.card.name:
        mark = fingerprint(stem, plan)
        if not _finished(stem, mark, settings):
            _trained(stem, plan, index, settings, progress)
        start = partial(load_stem, path=settings.weights / f"{stem.card.name}.safetensors")

    def show(now: TrainProgress) -> None:
        progress(f"{config.card.name} training", now.step / now.steps)

    # Without the test slides: training would score all of them, every pixel, for the card.
    without_test = replace(index, cohort=replace(index.cohort, test=()), test=())
    card = train(
        config,
        without_test,
        settings.weights,
        start=start,
        device=settings.device,
        threads=settings.threads,
        progress=show,
        provenance={"study": fingerprint(config, plan)},
    )
    assert card is not None, "one process trains"
    return card


def load_stem(network: nn.Module, path: Path) -> None:
    """Give a network the context encoder of a stem; its other weights stay as they are.

    A light decoder has no place for the units behind the stem's last reduction.
    """
    own = network.state_dict().keys()
    stem = {name: x for name, x in load_file(path).items() if name.startswith(STEM) and name in own}
    network.load_state_dict(stem, strict=False)


def _facts(config: TrainConfig, plan: Plan, evaluation: Evaluation) -> dict[str, Any]:
    card, total = evaluation.card, evaluation.total
    names = tuple(entry.name for entry in card.classes)
    stem_steps = stem_config(config.seed, plan).steps if card.network.sees_patch else 0
    cost = network_cost(card.network, classes=len(names))
    return {
        "network": asdict(card.network),
        "recipe": config.to_json(),
        "steps": stem_steps + config.steps,
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
