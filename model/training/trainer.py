"""Training: slides with truth in; weights and their card out. May be killed at any time and started again."""

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..card import CardWeights, ModelCard
from ..data.annotated_slide import AnnotatedSlide
from ..data.index import PlannedSlice, SlideIndex
from ..data.loader import Batch, BatchLoader
from ..data.sampler import PatchSampler, PlannedPatchSampler, RandomPatchSampler, index_slides
from ..errors import DivergedError, TrainingStoppedError
from ..evaluation.evaluate import Evaluation, check_classes, open_slides
from ..evaluation.examples import Example
from ..evaluation.metrics import Metrics
from ..inference.device import PRECISIONS
from ..inference.preprocess import Normaliser
from ..network.build import build_network
from ..network.init import initialise
from ..weights import load_weights, save_weights
from .checkpoint import History, load_state, save_state
from .config import TrainConfig
from .distributed import ProcessGroup, joined_ranks
from .loss import TrainingModule, make_optimizer
from .validate import Validator

logger = logging.getLogger(__name__)

Start = Callable[[nn.Module], None]
"""Gives a fresh network the weights it starts from, such as `model.network.imagenet.load_imagenet`."""


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """Told after every step."""

    step: int
    """Steps done."""
    steps: int
    loss: float
    learning_rate: float
    seconds: float
    """Of computing so far, over all runs."""
    eta_s: float
    validation: Metrics | None = None
    """Scores on the validation slides, at the steps where they were taken."""
    examples: tuple[Example, ...] = ()
    """A few of their boxes with what the network makes of them, likewise."""


def train(
    config: TrainConfig,
    index: SlideIndex,
    out: Path,
    *,
    start: Start | None = None,
    device: str = "auto",
    threads: int = 1,
    progress: Callable[[TrainProgress], None] | None = None,
    provenance: Mapping[str, object] | None = None,
) -> ModelCard | None:
    """Train a network and write `out`/<name>.safetensors and .json; returns the card.

    On the index's planned slices where it has some, else on random boxes of its slides, read by `threads` threads.
    State is kept in `out`/<name>.state.safetensors until the end: started again with the same arguments, an interrupted
    training goes on from there and ends with the same weights. With TrainingStoppedError `progress` ends it after the step it
    is told of, saved. `provenance` (such as the command) is added to the card's training section. Under torchrun all GPUs
    share the work, and only the first rank returns a card. Uses torch's global random state.

    Raises CohortError, DivergedError (the loss became NaN or infinite), ResumeError, WeightsError, DeviceError and the
    errors of wsi.
    """
    check_classes(config.card, index.classes)
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        ranks = stack.enter_context(joined_ranks(device))
        cohort = index.cohort
        held_out = cohort.test or cohort.validation
        slides = [
            stack.enter_context(open_slides(config.card, pairs))
            for pairs in (cohort.train, cohort.validation, held_out)
        ]
        training = _Training(config, index, out, ranks, slides[0], slides[1], start, threads)
        training.run(progress if ranks.first else None)
        if not ranks.first:
            ranks.wait()
            return None
        card = training.finish(slides[2], provenance or {})
        ranks.wait()
        return card


class _Training:
    """The moving parts of one training: network, optimiser, data and history."""

    def __init__(
        self,
        config: TrainConfig,
        index: SlideIndex,
        out: Path,
        ranks: ProcessGroup,
        taught: Sequence[AnnotatedSlide],
        validation: Sequence[AnnotatedSlide],
        start: Start | None,
        threads: int,
    ) -> None:
        self._config, self._index, self._out, self._ranks = config, index, out, ranks
        draws = _draws(taught, index.train, config)
        self._sampler = BatchLoader(
            draws, seed=config.seed, stain_jitter=config.stain_jitter, threads=threads
        )
        self._examiner = Validator(
            config.card,
            validation,
            index.validation,
            device=str(ranks.device),
            patches_per_slide=config.validation_patches,
        )
        self._lesson = _fresh_lesson(config, start).to(ranks.device)
        self._lesson.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
        self._shared = ranks.shared(self._lesson)
        self._optimizer = make_optimizer(self._lesson, config)
        self._scaler = torch.amp.GradScaler(ranks.device.type, enabled=config.precision == "fp16")
        self._normalise = Normaliser(config.card.normalisation, ranks.device)
        self._state_path = out / f"{config.card.name}.state.safetensors"
        self._best_path = out / f"{config.card.name}.best.safetensors"
        self._fingerprint = _fingerprint(config, index)
        self._history = (
            load_state(self._state_path, self._lesson, self._optimizer, self._scaler, self._fingerprint)
            or History()
        )
        if self._history.step and ranks.first:
            logger.info("going on after step %d of %d", self._history.step, config.steps)

    def run(self, progress: Callable[[TrainProgress], None] | None) -> None:
        """All steps that are still to do."""
        history, config = self._history, self._config
        started, clock, earlier = history.step, time.perf_counter(), history.seconds
        for batch in self._batches(range(history.step, config.steps)):
            loss = self._step(batch)
            history.step += 1
            history.seconds = earlier + time.perf_counter() - clock
            metrics, examples = self._after_step(loss)
            if progress is None:
                continue
            pace = (history.seconds - earlier) / (history.step - started)
            now = TrainProgress(
                step=history.step,
                steps=config.steps,
                loss=loss,
                learning_rate=config.learning_rate_at(history.step - 1),
                seconds=history.seconds,
                eta_s=pace * (config.steps - history.step),
                validation=metrics,
                examples=examples,
            )
            try:
                progress(now)
            except TrainingStoppedError:
                self._save()
                raise

    def finish(self, held_out: Sequence[AnnotatedSlide], provenance: Mapping[str, object]) -> ModelCard:
        """Settle the batch norms, write the weights, examine what was written, write the card."""
        config, network = self._config, self._lesson.network
        if self._best_path.exists():
            load_weights(network, self._best_path)
        self._recalibrate()
        weights_path = self._out / f"{config.card.name}.safetensors"
        sha256 = save_weights(network, weights_path, "float16")
        # The scores must speak of the stored weights, rounded as they are.
        load_weights(network, weights_path, sha256=sha256)
        set_name = "test" if self._index.cohort.test else "validation"
        planned = getattr(self._index, set_name)
        scores = Validator(config.card, held_out, planned, device=str(self._ranks.device)).scores(network)
        card = replace(
            config.card,
            weights=CardWeights(weights_path.name, sha256, "float16"),
            training=self._provenance() | dict(provenance),
            metrics=_metrics_json(scores, set_name),
        )
        card.save(self._out / f"{card.name}.json")
        for path in (self._state_path, self._best_path):
            path.unlink(missing_ok=True)
        return card

    def _batches(self, steps: range) -> Iterator[Batch]:
        """This rank's batches of these steps; a thread makes the next one while the network computes."""
        ranks = self._ranks
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:

            def order(step: int) -> Any:
                spec = self._config.stage_at(step).batch
                return pool.submit(self._sampler.batch, step, spec, rank=ranks.rank, ranks=ranks.count)

            following = order(steps[0]) if steps else None
            for step in steps:
                assert following is not None
                batch = following.result()
                if step + 1 in steps:
                    following = order(step + 1)
                yield batch

    def _step(self, batch: Batch) -> float:
        """One update; returns the loss. Raises DivergedError before a bad loss can touch the weights."""
        step, config = self._history.step, self._config
        # Dropout must not depend on how often the training was interrupted.
        torch.manual_seed(config.seed * 1_000_003 + step)
        self._shared.train()
        rate = config.learning_rate_at(step)
        loss = self._loss(batch, config.stage_at(step).context_loss)
        value = loss.item()
        if not math.isfinite(value):
            raise DivergedError(
                f"the loss is {value} at step {step + 1} (learning rate {rate:g}). Start again with a lower learning "
                f"rate; the state before it is in {self._state_path.name}, remove that first."
            )
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if config.clip_norm is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._lesson.parameters(), config.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return value

    def _loss(self, batch: Batch, context_loss: float) -> torch.Tensor:
        config, device = self._config, self._ranks.device
        slices, context = (self._normalise(x.to(device)) for x in (batch.slices, batch.context))
        labels, coarse, boxes = (x.to(device) for x in (batch.labels, batch.context_labels, batch.boxes))
        dtype = PRECISIONS[config.precision]
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            loss: torch.Tensor = self._shared(slices, labels, context, coarse, boxes, context_loss)
        return loss

    def _after_step(self, loss: float) -> tuple[Metrics | None, tuple[Example, ...]]:
        """History, a look at the validation slides and a saved state, when they are due."""
        config, history = self._config, self._history
        last = history.step == config.steps
        history.recent.append(loss)
        if history.step % max(1, config.steps // 100) == 0 or last:
            history.curve.append((history.step, round(sum(history.recent) / len(history.recent), 4)))
            history.recent.clear()
        if not self._ranks.first:
            return None, ()
        seen: tuple[Metrics | None, tuple[Example, ...]] = (None, ())
        if config.validate_every and (history.step % config.validate_every == 0 or last):
            seen = self._validate()
        if history.step % config.checkpoint_every == 0 or last:
            self._save()
        return seen

    def _save(self) -> None:
        """What a later run goes on from."""
        save_state(
            self._state_path,
            self._lesson,
            self._optimizer,
            self._scaler,
            self._history,
            self._fingerprint,
        )

    def _validate(self) -> tuple[Metrics, tuple[Example, ...]]:
        """Scores and examples on a part of the validation slides; the best weights so far are put aside."""
        history = self._history
        metrics, examples = self._examiner.look(self._lesson.network)
        if metrics.miou > max((miou for _, miou in history.validations), default=-1.0):
            save_weights(self._lesson.network, self._best_path, "float32")
        history.validations.append((history.step, round(metrics.miou, 4)))
        return metrics, examples

    @torch.no_grad()
    def _recalibrate(self) -> None:
        recalibration = self._config.recalibration
        if recalibration is None:
            return
        norms = [m for m in self._lesson.network.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over all batches
        self._lesson.train()
        steps = self._config.steps
        for step in range(steps, steps + recalibration.steps):
            self._loss(self._sampler.batch(step, recalibration.batch), context_loss=0)

    def _provenance(self) -> dict[str, Any]:
        history = self._history
        return {
            "recipe": self._config.to_json(),
            "seed": self._config.seed,
            "cohort": self._index.cohort.to_json(),
            "source": self._index.source,
            "steps": history.step,
            "seconds": round(history.seconds),
            "device": str(self._ranks.device),
            "ranks": self._ranks.count,
            "torch": torch.__version__,
            "curve": history.curve,
            "validation_miou": history.validations,
        }


def _draws(
    slides: Sequence[AnnotatedSlide], planned: Sequence[PlannedSlice], config: TrainConfig
) -> PatchSampler:
    classes = len(config.card.classes)
    indexed = index_slides(slides, classes)
    return (
        PlannedPatchSampler(indexed, planned, config.seed)
        if planned
        else RandomPatchSampler(indexed, classes)
    )


def _fresh_lesson(config: TrainConfig, start: Start | None) -> TrainingModule:
    network = build_network(config.card.network, len(config.card.classes), dropout=config.dropout)
    initialise(network, config.seed)
    if start is not None:
        start(network)
    return TrainingModule(network, config)


def _fingerprint(config: TrainConfig, index: SlideIndex) -> str:
    planned = [asdict(planned) for planned in index.train]
    parts = [config.to_json(), config.card.to_json(), index.cohort.to_json(), planned]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _metrics_json(scores: Evaluation, set_name: str) -> dict[str, Any]:
    card, confusion = scores.card, scores.total.all
    slides = "phantom slides" if card.phantom else "slides"
    return confusion.metrics().to_json(tuple(entry.name for entry in card.classes)) | {
        "confusion": confusion.counts.tolist(),
        "on": f"the held-out {slides} named in training.cohort.{set_name}",
    }
