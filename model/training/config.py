"""Training configuration: stages, optimizer and schedule, as plain numbers that the card keeps."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from ..card import ModelCard
from ..data.batch import BatchSpec
from ..errors import InputError


@dataclass(frozen=True, slots=True)
class Stage:
    """Training steps with batches of one shape."""

    steps: int
    batch: BatchSpec
    context_loss: float = 0.0
    """Weight of an auxiliary loss: the context's coarse map must name the class under each of its pixels. The
    labels of a slice say little about the whole patch; this teaches the context encoder from all of it."""

    learning_rate: float | None = None
    """Constant rate through the stage; None: the schedule of the configuration."""

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise InputError(f"{self}: steps must be at least 0")
        if self.batch.slices == 0 and self.context_loss <= 0:
            raise InputError(f"{self}: without slices there is only the context's loss; give it a weight")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Complete settings of a training.

    With the same cohort, machine and thread count they give the same weights on a CPU; a GPU adds up in no
    fixed order.
    """

    card: ModelCard
    """Draft of the card to write: identity, classes, input, normalisation, network; its weights are not
    written yet."""
    stages: tuple[Stage, ...]
    """Stages in order. A last stage on slices near the size of the inference windows fits the pooled features
    and batch norms to what they will see."""
    recalibration: Stage | None
    """Batches over which batch-norm statistics are computed anew at the end, at inference size (None: the
    running ones are kept); training batches are too small and too alike for running means to be trusted."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """The paper's SGD fits networks that start from ImageNet; AdamW learns from nothing in far fewer
    steps."""
    learning_rate: float = 0.03
    """Peak of the schedule, reached after the share `warm_up` of all steps; then a cosine down to 0."""
    encoder_factor: float = 1.0
    """Learning rate of the encoders over that of all else; the paper's 0.1 is for a start from ImageNet."""
    frozen_batch_norm: bool = False
    """Batch norms keep the statistics and weights they start with: for an ImageNet start, as the paper
    does."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of the arithmetic (autocast); weights and their updates are always float32."""
    warm_up: float = 0.1
    """Share of all steps in which the learning rate rises, 0..1."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 1e-4
    clip_norm: float | None = 5.0
    """Largest gradient norm; None: no clipping."""
    shuffled_contexts: bool = False
    """Control experiment: each slice sees the context of another patch of its batch, which says nothing of
    it."""
    dropout: float = 0.1
    """Drop probability; the paper's 0.5 is for large networks."""
    stain_jitter: float = 0.05
    """Standard deviation of ln(strength) of each channel's stain (`Augmentation`); 0: none."""
    batch_norm_momentum: float = 0.05
    seed: int = 1
    validate_every: int = 500
    """Steps between validations, the last of which comes after the last step; the weights that scored best
    are kept. 0: no validation, the last weights are kept."""
    validation_patches: int | None = 2
    """Patches of each validation slide in a validation, None for all. The scores in the card are always from
    all."""
    checkpoint_every: int = 100
    """Steps between saved states."""

    def __post_init__(self) -> None:
        if self.frozen_batch_norm and self.recalibration is not None:
            raise InputError("frozen batch norms keep their statistics: leave recalibration out")

    @property
    def steps(self) -> int:
        """Steps of all stages, without the recalibration."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> Stage:
        """Return the stage of step 0, 1, ...; beyond the last step the recalibration, if there is one."""
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        return self.recalibration or self.stages[-1]

    def learning_rate_at(self, step: int) -> float:
        """Return the stage's own rate, or else that of the schedule: linear warm-up, then a cosine down to 0.

        A pure function of the step, so a resumed training needs no scheduler state.
        """
        own = self.stage_at(step).learning_rate
        if own is not None:
            return own
        rise = max(1, round(self.warm_up * self.steps))
        if step < rise:
            return self.learning_rate * (step + 1) / rise
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, self.steps - rise)))

    def to_json(self) -> dict[str, Any]:
        """Return the settings without the card that they are kept in."""
        values = dataclasses.asdict(self)
        del values["card"]
        return values
