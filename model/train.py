"""Training: slides with truth in; weights and their card out. May be killed at any time and started again."""

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .build import build_network
from .card import CardWeights, ModelCard
from .checkpoint import load_weights, save_weights
from .da_refinenet import DaRefineNet
from .data.cached_slide import CachedSlide
from .data.cohort import Cohort, SlideWithTruth, geometry_of
from .data.sampler import Batch, PatchSampler
from .device import choose_device
from .errors import DivergedError
from .evaluate import evaluate_cached
from .initialise import initialise
from .metrics import ConfusionMatrix, Metrics
from .preprocess import Normaliser
from .recipe import TrainConfig
from .segmenter import Segmenter
from .train_state import History, load_state, save_state

logger = logging.getLogger(__name__)

NO_TRUTH = -1
"""Cross-entropy skips this: label 0, glass and everything else that has no truth."""


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
    validation: Metrics | None
    """Held-out scores, at the steps where they were taken."""


def train(
    config: TrainConfig,
    cohort: Cohort,
    out: Path,
    *,
    cache: Path,
    device: str = "auto",
    progress: Callable[[TrainProgress], None] | None = None,
    provenance: Mapping[str, object] | None = None,
) -> ModelCard:
    """Train a network and write `out`/<name>.safetensors and .json; returns the card.

    Slides are decoded once into folder `cache`. State is kept in `out`/<name>.state.safetensors until the
    end: started again with the same arguments, an interrupted training goes on from there and ends with the
    same weights. `provenance` (such as the command) is added to the card's training section. Uses torch's
    global random state.

    Raises CohortError, DivergedError (the loss became NaN or infinite), ResumeError, DeviceError and the
    errors of wsi.
    """
    out.mkdir(parents=True, exist_ok=True)
    training = _Training(config, cohort, out, cache, choose_device(device))
    training.run(progress)
    return training.finish(provenance or {})


class _Training:
    """The moving parts of one training: network, optimiser, data and history."""

    def __init__(
        self, config: TrainConfig, cohort: Cohort, out: Path, cache: Path, device: torch.device
    ) -> None:
        self._config, self._cohort, self._out, self._device = config, cohort, out, device
        geometry = geometry_of(config.card.input)

        def opened(pairs: tuple[SlideWithTruth, ...]) -> list[CachedSlide]:
            return [CachedSlide.open(pair, geometry, cache) for pair in pairs]

        classes = len(config.card.classes)
        self._sampler = PatchSampler(
            opened(cohort.train), classes, seed=config.seed, stain_jitter=config.stain_jitter
        )
        self._held_out = opened(cohort.validation)
        self._network = _fresh_network(config).to(device)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
        self._context_head = _context_head(config).to(device)
        self._parts = nn.ModuleDict({"network": self._network, "context_head": self._context_head})
        self._optimizer = _optimizer(config, self._parts)
        self._normalise = Normaliser(config.card.normalisation, device)
        self._state_path = out / f"{config.card.name}.state.safetensors"
        self._fingerprint = _fingerprint(config, cohort)
        self._history = (
            load_state(self._state_path, self._parts, self._optimizer, self._fingerprint) or History()
        )

    def run(self, progress: Callable[[TrainProgress], None] | None) -> None:
        """All steps that are still to do."""
        history, config = self._history, self._config
        started = history.step
        clock = time.perf_counter()
        earlier = history.seconds
        for batch in self._batches(range(history.step, config.steps)):
            loss = self._step(batch)
            history.step += 1
            history.seconds = earlier + time.perf_counter() - clock
            validation = self._after_step(loss)
            if progress is not None:
                pace = (history.seconds - earlier) / (history.step - started)
                progress(
                    TrainProgress(
                        step=history.step,
                        steps=config.steps,
                        loss=loss,
                        learning_rate=config.learning_rate_at(history.step - 1),
                        seconds=history.seconds,
                        eta_s=pace * (config.steps - history.step),
                        validation=validation,
                    )
                )

    def finish(self, provenance: Mapping[str, object]) -> ModelCard:
        """Settle the batch norms, write the weights, examine what was written, write the card."""
        config = self._config
        self._recalibrate()
        weights_path = self._out / f"{config.card.name}.safetensors"
        sha256 = save_weights(self._network, weights_path, "float16")
        # The scores must speak of the stored weights, rounded as they are.
        load_weights(self._network, weights_path, sha256=sha256)
        confusion = self._examine(patches_per_slide=None)
        card = replace(
            config.card,
            weights=CardWeights(weights_path.name, sha256, "float16"),
            training=self._provenance() | dict(provenance),
            metrics=_metrics_json(config.card, confusion),
        )
        card.save(self._out / f"{card.name}.json")
        self._state_path.unlink(missing_ok=True)
        return card

    def _batches(self, steps: range) -> Iterator[Batch]:
        """Batches of these steps; one thread makes the next while the network computes."""
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:

            def order(step: int) -> Any:
                return pool.submit(self._sampler.batch, step, self._config.stage_at(step))

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
        self._network.train()
        loss = self._loss(batch, config.stage_at(step).context_loss)
        value = loss.item()
        if not math.isfinite(value):
            raise DivergedError(
                f"the loss is {value} at step {step + 1} (learning rate {config.learning_rate_at(step):g}). Start again "
                f"with a lower learning rate; the state before it is in {self._state_path.name}, remove that first."
            )
        for group in self._optimizer.param_groups:
            group["lr"] = config.learning_rate_at(step)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
        # Raises RuntimeError rather than let a norm that is not finite turn every weight into NaN.
        nn.utils.clip_grad_norm_(self._parts.parameters(), config.clip_norm, error_if_nonfinite=True)
        self._optimizer.step()
        return value

    def _loss(self, batch: Batch, context_weight: float) -> torch.Tensor:
        """NLL of the slices' pixels (paper Eq. 12), and of the context's coarse map if it has a weight."""
        slices, context = (self._normalise(x.to(self._device)) for x in (batch.slices, batch.context))
        if self._config.card.network.second_input != "dual":
            return self._nll(self._network(slices), batch.labels)
        encoded = self._network.encode_context(context)
        loss = torch.zeros((), device=self._device)
        if len(slices):
            loss = loss + self._nll(self._network(slices, encoded), batch.labels)
        if context_weight:
            loss = loss + context_weight * self._nll(self._context_head(encoded.coarse), batch.context_labels)
        return loss

    def _nll(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean over the labelled pixels; `logits` (N, K, h, w) are up-sampled to `labels` (N, H, W)."""
        target = labels.to(self._device).long() + NO_TRUTH
        logits = F.interpolate(logits, size=target.shape[1:], mode="bilinear", align_corners=False)
        return F.cross_entropy(logits, target, ignore_index=NO_TRUTH)

    def _after_step(self, loss: float) -> Metrics | None:
        """History, a look at the held-out slides and a saved state, when they are due."""
        config, history = self._config, self._history
        last = history.step == config.steps
        history.recent.append(loss)
        if history.step % max(1, config.steps // 100) == 0 or last:
            history.curve.append((history.step, round(sum(history.recent) / len(history.recent), 4)))
            history.recent.clear()
        metrics = None
        if config.validate_every and history.step % config.validate_every == 0 and not last:
            metrics = self._examine(config.validation_patches).metrics()
            history.validations.append((history.step, round(metrics.miou, 4)))
        if history.step % config.checkpoint_every == 0 or last:
            save_state(self._state_path, self._parts, self._optimizer, history, self._fingerprint)
        return metrics

    def _examine(self, patches_per_slide: int | None) -> ConfusionMatrix:
        segmenter = Segmenter(self._network, self._config.card, device=str(self._device))
        return evaluate_cached(segmenter, self._held_out, patches_per_slide=patches_per_slide)

    @torch.no_grad()
    def _recalibrate(self) -> None:
        recalibration = self._config.recalibration
        if recalibration is None:
            return
        norms = [module for module in self._network.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over all batches
        self._network.train()
        steps = self._config.steps
        for batch in self._batches(range(steps, steps + recalibration.steps)):
            self._loss(batch, context_weight=0)

    def _provenance(self) -> dict[str, Any]:
        history = self._history
        return {
            "recipe": self._config.to_json(),
            "seed": self._config.seed,
            "cohort": self._cohort.to_json(),
            "steps": history.step,
            "seconds": round(history.seconds),
            "device": str(self._device),
            "torch": torch.__version__,
            "curve": history.curve,
            "validation_miou": history.validations,
        }


def _fresh_network(config: TrainConfig) -> DaRefineNet:
    network = build_network(config.card.network, len(config.card.classes), dropout=config.dropout)
    initialise(network, config.seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = config.batch_norm_momentum
    return network


def _context_head(config: TrainConfig) -> nn.Conv2d:
    """Reads classes off the context's coarse map in training; no part of the network that is kept."""
    torch.manual_seed(config.seed)
    return nn.Conv2d(2 * config.card.network.decoder_width, len(config.card.classes), 1)


def _optimizer(config: TrainConfig, parts: nn.Module) -> torch.optim.Optimizer:
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parts.parameters(), weight_decay=config.weight_decay)
    return torch.optim.SGD(parts.parameters(), momentum=config.momentum, weight_decay=config.weight_decay)


def _fingerprint(config: TrainConfig, cohort: Cohort) -> str:
    text = json.dumps([config.to_json(), config.card.to_json(), cohort.to_json()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _metrics_json(card: ModelCard, confusion: ConfusionMatrix) -> dict[str, Any]:
    names = tuple(entry.name for entry in card.classes)
    slides = "phantom slides" if card.phantom else "slides"
    return confusion.metrics().to_json(names) | {
        "confusion": confusion.counts.tolist(),
        "on": f"all pixels with truth of the held-out {slides} named in training.cohort.validation",
    }
