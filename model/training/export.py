"""What a finished training writes: rounded weights, and a card with their provenance and scores."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import torch

from ..card import CardWeights, ModelCard
from ..data.annotated_slide import AnnotatedSlide
from ..data.colours import colour_statistics
from ..data.index import SlideIndex
from ..evaluation.calibration import calibrate
from ..evaluation.evaluate import Evaluation
from ..evaluation.intervals import score_intervals
from ..weights import load_weights, save_weights
from .checkpoint import History, TrainState
from .config import TrainConfig
from .distributed import ProcessGroup
from .validate import Validator


class OpenCohort(NamedTuple):
    """Open slides of a cohort."""

    train: Sequence[AnnotatedSlide]
    validation: Sequence[AnnotatedSlide]
    held_out: Sequence[AnnotatedSlide]
    """Of the test, or of validation again where there is none."""


def export_model(
    config: TrainConfig,
    index: SlideIndex,
    state: TrainState,
    cohort: OpenCohort,
    group: ProcessGroup,
    provenance: Mapping[str, object],
) -> ModelCard:
    """Write weights and card of a trained network beside its state; return the card.

    The scores in the card are those of the written weights on all of the held-out slides; the temperature is
    fitted on the validation slides, and the colours are those of the training slides. `provenance` is added
    to the card's training section.
    """
    network, folder = state.module.network, state.path.parent
    weights_path = folder / f"{config.card.name}.safetensors"
    sha256 = save_weights(network, weights_path, "float16")
    # The scores must speak of the stored weights, rounded as they are.
    load_weights(network, weights_path, sha256=sha256)
    set_name = "test" if index.cohort.test else "validation"
    device = str(group.device)
    examiner = Validator(config.card, cohort.held_out, getattr(index, set_name), device=device)
    validator = Validator(config.card, cohort.validation, index.validation, device=device)
    scores = examiner.evaluate(network).grouped(getattr(index.cohort, set_name))
    measured = examiner.sample(network)
    fitted = validator.sample(network) if index.cohort.test else measured
    card = replace(
        config.card,
        weights=CardWeights(weights_path.name, sha256, "float16"),
        training=_provenance(config, index, state.history, group) | dict(provenance),
        metrics=_metrics_json(scores, index, set_name),
        colours=colour_statistics(index.cohort.train, config.card.input),
        calibration=calibrate(fitted, measured, fitted_on="validation", measured_on=set_name),
    )
    card.save(folder / f"{card.name}.json")
    return card


def _provenance(
    config: TrainConfig, index: SlideIndex, history: History, group: ProcessGroup
) -> dict[str, Any]:
    """Return the training section of a card: recipe, data, machine and history."""
    return {
        "recipe": config.to_json(),
        "seed": config.seed,
        "cohort": index.cohort.to_json(),
        "source": index.source,
        **({} if index.data_set is None else {"data_set": asdict(index.data_set)}),
        "steps": history.step,
        "seconds": round(history.seconds),
        "device": str(group.device),
        "ranks": group.world_size,
        "torch": torch.__version__,
        "curve": history.curve,
        "validation_miou": history.validations,
    }


def _metrics_json(scores: Evaluation, index: SlideIndex, set_name: str) -> dict[str, Any]:
    """Return the metrics section of a card: scores, confusion matrix, and the set they were taken on."""
    card, confusion = scores.card, scores.total.all
    slides = "phantom slides" if card.phantom else "slides"
    if index.data_set is not None:
        slides = "images of the groups"
    intervals = score_intervals([tally.all for _, tally in scores.slides])
    return confusion.metrics().to_json(tuple(entry.name for entry in card.classes)) | {
        "confusion": confusion.counts.tolist(),
        **({} if intervals is None else {"intervals": intervals.to_json()}),
        "on": f"the held-out {slides} named in training.cohort.{set_name}",
    }
