"""What a training is to do: plain numbers, kept in the card."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from ..card import ModelCard
from ..data.batch import BatchSpec
from ..errors import InputError


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps with batches of one shape."""

    steps: int
    batch: BatchSpec
    context_loss: float = 0.0
    """Weight of an auxiliary loss that has the context's coarse map name the class under each of its pixels. One label a
    slice says little about a whole patch; this teaches the context encoder from every place in it."""

    learning_rate: float | None = None
    """Constant through the stage; None: the recipe's curve."""

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise InputError(f"{self}: steps must be at least 0")
        if self.batch.slices == 0 and self.context_loss <= 0:
            raise InputError(f"{self}: without slices there is only the context's loss; give it a weight")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A training, whole: with the same cohort, machine and thread count it gives the same weights on a CPU; a GPU adds up
    in no fixed order."""

    card: ModelCard
    """Draft of the card to write: identity, classes, input, normalisation, network; its weights are not
    written yet."""
    stages: tuple[Stage, ...]
    """One after another. A last stage on slices near the size of the
    inference windows fits the pooled features and batch norms to what they will see."""
    recalibration: Stage | None
    """Batches over which batch-norm statistics are taken anew at the end, at inference size (None: kept); training batches
    are too small and too alike for running means to be trusted."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """The paper's SGD fits networks that start from ImageNet; AdamW learns from nothing in far fewer
    steps."""
    learning_rate: float = 0.03
    """Peak of the curve, reached after `warm_up` of all steps and left on a cosine down to 0."""
    encoder_factor: float = 1.0
    """Learning rate of the encoders over that of all else; the paper's 0.1 is for encoders that start from ImageNet."""
    frozen_batch_norm: bool = False
    """Batch norms keep the statistics and weights they start with: for an ImageNet start, as the paper does."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the arithmetic (autocast); weights and their updates are float32 always."""
    warm_up: float = 0.1
    momentum: float = 0.9
    """Of SGD."""
    weight_decay: float = 1e-4
    clip_norm: float | None = 5.0
    """Largest gradient norm; None: any."""
    dropout: float = 0.1
    """The paper's 0.5 is for large networks."""
    stain_jitter: float = 0.05
    batch_norm_momentum: float = 0.05
    seed: int = 1
    validate_every: int = 500
    """Steps between looks at the validation slides, the last of which comes after the last step; the weights that scored
    best are kept. 0: none, the last weights are kept."""
    validation_patches: int | None = 2
    """Patches of each validation slide in those looks, None for all. The scores in the card are always from
    all."""
    checkpoint_every: int = 100
    """Steps between saved states."""

    def __post_init__(self) -> None:
        if self.frozen_batch_norm and self.recalibration is not None:
            raise InputError("frozen batch norms keep their statistics: leave recalibration out")

    @property
    def steps(self) -> int:
        """Of all stages."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> Stage:
        """The stage of step 0, 1, ...; the recalibration, if there is one, beyond the last."""
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        return self.recalibration or self.stages[-1]

    def learning_rate_at(self, step: int) -> float:
        """The stage's own, or else one cycle: linear warm-up, then a cosine down to 0. A pure function, so a resume needs
        no scheduler state."""
        own = self.stage_at(step).learning_rate
        if own is not None:
            return own
        rise = max(1, round(self.warm_up * self.steps))
        if step < rise:
            return self.learning_rate * (step + 1) / rise
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, self.steps - rise)))

    def to_json(self) -> dict[str, Any]:
        """The numbers, without the card they are kept in."""
        values = dataclasses.asdict(self)
        del values["card"]
        return values
