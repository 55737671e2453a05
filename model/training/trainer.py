"""Training loop: slides with truth in, weights and their card out. May be killed at any time and resumed."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from wsi.work_ahead import work_ahead

from ..card import ModelCard
from ..data.annotated_slide import AnnotatedSlide
from ..data.index import SlideIndex
from ..data.loader import Batch, BatchLoader
from ..data.sampler import (
    IndexedSlide,
    PatchSampler,
    PlannedPatchSampler,
    RandomPatchSampler,
    absent_classes,
    index_slides,
)
from ..data.splits import Cohort
from ..errors import DivergedError, TrainingStoppedError
from ..evaluation.evaluate import check_classes, open_slides
from ..evaluation.examples import Example
from ..evaluation.metrics import Metrics
from ..network.build import build_network
from ..network.init import initialise, silence_classes
from ..weights import load_weights, save_weights
from .checkpoint import History, TrainState, training_fingerprint
from .config import TrainConfig
from .distributed import ProcessGroup, process_group
from .export import OpenCohort, export_model
from .forecast import StageCost, stage_costs
from .loss import LossFunction, TrainingModule, loss_function, make_optimizer
from .validate import Validator

logger = logging.getLogger(__name__)

Start = Callable[[nn.Module], None]
"""Gives a fresh network the weights it starts from, such as `model.network.imagenet.load_imagenet`."""

StopCheck = Callable[[bool], bool]
"""Called after each step, with whether it was the last; returns whether to stop here and resume later."""

SAVE_EVERY_S = 120.0
"""Computing seconds after which the state is saved, wherever `checkpoint_every` steps take longer."""


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """Progress of a training after a step."""

    step: int
    """Steps done."""
    steps: int
    loss: float
    learning_rate: float
    seconds: float
    """Computing time so far, over all runs."""
    eta_s: float
    validation: Metrics | None = None
    """Scores on the validation slides, after steps that end with a validation."""
    examples: tuple[Example, ...] = ()
    """A few validation patches with the network's labels, after the same steps."""


def train(
    config: TrainConfig,
    index: SlideIndex,
    out: Path,
    *,
    start: Start | None = None,
    device: str = "auto",
    threads: int = 1,
    progress: Callable[[TrainProgress], None] = lambda _: None,
    forecast: Callable[[Sequence[StageCost]], None] | None = None,
    should_stop: StopCheck = lambda _: False,
    provenance: Mapping[str, object] | None = None,
) -> ModelCard | None:
    """Train a network and write `out`/<name>.safetensors and .json; return the card.

    State is kept in `out`/<name>.state.safetensors until the end: started again with the same arguments, an
    interrupted training resumes from it and ends with the same weights. `forecast` is told what the steps
    left will take. Of torchrun's processes only the main one returns a card, and all stop where `should_stop`
    says so in one. Sets torch's random state.

    Raises:
        ModelError: CohortError, DivergedError, ResumeError, TrainingStoppedError, WeightsError, DeviceError.
        WsiError: A slide or truth cannot be read.
    """
    check_classes(config.card, index.classes)
    with process_group(device) as group, _open_cohort(config.card, index.cohort) as cohort:
        indexed = index_slides(cohort.train, config.card.classes)
        config = _without_untaught(config, indexed, group)
        loader = _make_loader(config, index, indexed, threads)
        validator = _make_validator(config, index, cohort.validation, group)
        state = _initial_state(config, index, out, start, group.device)
        if forecast is not None:
            forecast(stage_costs(config, state, loader, group))
        _run_steps(config, state, loader, validator, group, progress, should_stop)
        if group.is_main:
            _use_best(config, state, loader, group.device)
            card = export_model(config, index, state, cohort, group, provenance or {})
            state.remove()
        group.barrier()
        return card if group.is_main else None


@contextmanager
def _open_cohort(card: ModelCard, cohort: Cohort) -> Iterator[OpenCohort]:
    with ExitStack() as stack:
        yield OpenCohort(
            *(
                stack.enter_context(open_slides(card, pairs))
                for pairs in (cohort.train, cohort.validation, cohort.test or cohort.validation)
            )
        )


def _make_validator(
    config: TrainConfig, index: SlideIndex, slides: Sequence[AnnotatedSlide], group: ProcessGroup
) -> Validator:
    return Validator(
        config.card,
        slides,
        index.validation,
        device=str(group.device),
        patches_per_slide=config.validation_patches,
    )


def _use_best(config: TrainConfig, state: TrainState, loader: BatchLoader, device: torch.device) -> None:
    """Go back to the weights that validated best, where there are some, and settle their batch norms."""
    if state.best_path.exists():
        load_weights(state.module.network, state.best_path)
    _recalibrate_batch_norm(config, state.module, loader, device)


def _run_steps(
    config: TrainConfig,
    state: TrainState,
    loader: BatchLoader,
    validator: Validator,
    group: ProcessGroup,
    progress: Callable[[TrainProgress], None],
    should_stop: StopCheck,
) -> None:
    """Take every step that is left, or until `should_stop`; validate and save the state when due."""
    history = state.history
    compute_loss = loss_function(group.data_parallel(state.module), config, group.device)
    saver, steps = Saver(config, state), range(history.step, config.steps)
    earlier_s, started = history.seconds, time.perf_counter()

    def read(step: int) -> Batch:
        return loader.batch(step, config.stage_at(step).batch, rank=group.rank, ranks=group.world_size)

    with closing(work_ahead(read, steps, threads=1, depth=1)) as batches:
        for step, batch in batches:
            loss = _training_step(config, state, compute_loss, step, batch)
            history.record_loss(loss, config.steps)
            history.seconds = earlier_s + time.perf_counter() - started
            last = history.step == config.steps
            if group.is_main:
                step_s = (history.seconds - earlier_s) / (history.step - steps.start)
                now = _progress_after(config, history, loss, step_s)
                if config.validate_every and (history.step % config.validate_every == 0 or last):
                    metrics, examples = _validate(state, validator)
                    now = replace(now, validation=metrics, examples=examples)
                saver.save_if_due(at_once=last)
                progress(now)
            if group.any(should_stop(last)):
                if group.is_main:
                    state.save()
                # torchrun ends the others with the first process that fails: not before the state is saved.
                group.barrier()
                raise TrainingStoppedError(
                    f"stopped after step {history.step} of {steps.stop}, which is saved"
                )


class Saver:
    """Saves the state of a training: after the first step of a run, then by steps and by time.

    The first one shows at once whether the disk takes it.
    """

    def __init__(self, config: TrainConfig, state: TrainState) -> None:
        self._every = config.checkpoint_every
        self._state = state
        self._saved_s: float | None = None

    def save_if_due(self, *, at_once: bool) -> None:
        """Save if `at_once`, or if enough steps or seconds have passed."""
        history = self._state.history
        waited = self._saved_s is None or history.seconds - self._saved_s >= SAVE_EVERY_S
        if at_once or waited or history.step % self._every == 0:
            self._state.save()
            self._saved_s = history.seconds


def _training_step(
    config: TrainConfig, state: TrainState, compute_loss: LossFunction, step: int, batch: Batch
) -> float:
    """Update the weights once; return the loss.

    Raises:
        DivergedError: The loss is NaN or infinite; it has not touched the weights.
    """
    # Dropout must not depend on how often the training was interrupted.
    torch.manual_seed(config.seed * 1_000_003 + step)
    state.module.train()
    rate = config.learning_rate_at(step)
    loss = compute_loss(batch, config.stage_at(step).context_loss)
    value = loss.item()
    if not math.isfinite(value):
        raise DivergedError(
            f"the loss is {value} at step {step + 1} (learning rate {rate:g}). Start again with a lower "
            f"learning rate; the state before it is in {state.path.name}, remove that first."
        )
    for group in state.optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    state.optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    if config.clip_norm is not None:
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(state.module.parameters(), config.clip_norm)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    return value


def _validate(state: TrainState, validator: Validator) -> tuple[Metrics, tuple[Example, ...]]:
    """Score the network on the validation slides; write its weights if no earlier ones scored higher."""
    history = state.history
    metrics, examples = validator.validate(state.module.network)
    if metrics.miou_of_truth > history.best_miou:
        save_weights(state.module.network, state.best_path, "float32")
    history.validations.append((history.step, round(metrics.miou_of_truth, 4)))
    return metrics, examples


def _progress_after(config: TrainConfig, history: History, loss: float, step_s: float) -> TrainProgress:
    """Return the progress after the history's last step; `step_s` is the mean time of a step in this run."""
    return TrainProgress(
        step=history.step,
        steps=config.steps,
        loss=loss,
        learning_rate=config.learning_rate_at(history.step - 1),
        seconds=history.seconds,
        eta_s=step_s * (config.steps - history.step),
    )


@torch.no_grad()
def _recalibrate_batch_norm(
    config: TrainConfig, module: TrainingModule, loader: BatchLoader, device: torch.device
) -> None:
    """Compute batch-norm statistics anew over the recalibration batches, if the recipe has some."""
    recalibration = config.recalibration
    if recalibration is None:
        return
    for norm in module.network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over all batches
    module.train()
    # The main process does this alone. A module wrapped for several processes would wait for the others in
    # every forward pass, and they wait at the barrier.
    compute_loss = loss_function(module, config, device)
    for step in range(config.steps, config.steps + recalibration.steps):
        compute_loss(loader.batch(step, recalibration.batch), 0.0)


def _without_untaught(
    config: TrainConfig, slides: Sequence[IndexedSlide], group: ProcessGroup
) -> TrainConfig:
    """Name the classes that no slide to train on has in the draft of the card, and warn of them."""
    untaught = absent_classes(slides, config.card.classes)
    if untaught and group.is_main:
        names = ", ".join(entry.name for entry in untaught)
        logger.warning("no slide to train on has %s: the network will never choose it", names)
    card = replace(config.card, untrained=tuple(entry.value for entry in untaught))
    return replace(config, card=card)


def _make_loader(
    config: TrainConfig, index: SlideIndex, slides: Sequence[IndexedSlide], threads: int
) -> BatchLoader:
    """Return the loader of training batches: planned slices where the index has some, else random patches."""
    sampler: PatchSampler = (
        PlannedPatchSampler(slides, index.train, config.seed)
        if index.train
        else RandomPatchSampler(slides, len(config.card.classes))
    )
    return BatchLoader(
        sampler,
        seed=config.seed,
        stain_jitter=config.stain_jitter,
        threads=threads,
        with_context=config.card.network.sees_patch,
    )


def _initial_state(
    config: TrainConfig,
    index: SlideIndex,
    out: Path,
    start: Start | None,
    device: torch.device,
) -> TrainState:
    """Return the state saved in `out`, or that of the first step: weights of the seed, then `start`'s.

    Untrained classes are never chosen.
    """
    out.mkdir(parents=True, exist_ok=True)
    network = build_network(config.card.network, len(config.card.classes), dropout=config.dropout)
    initialise(network, config.seed)
    if start is not None:
        start(network)
    silence_classes(network, [value - 1 for value in config.card.untrained])
    module = TrainingModule(network, config).to(device)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
    state = TrainState(
        path=out / f"{config.card.name}.state.safetensors",
        fingerprint=training_fingerprint(config, index),
        module=module,
        optimizer=make_optimizer(module, config),
        scaler=torch.amp.GradScaler(device.type, enabled=config.precision == "fp16"),
    )
    state.load()
    if state.history.step:
        logger.info("going on after step %d of %d", state.history.step, config.steps)
    return state
