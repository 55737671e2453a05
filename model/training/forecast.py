"""Forecast what a training will take here, by trying a step of each of its stages."""

import copy
import time
from dataclasses import dataclass

from ..data.loader import BatchLoader
from .checkpoint import TrainState
from .config import Stage, TrainConfig
from .distributed import ProcessGroup
from .loss import loss_function

TRIALS = 2
"""Steps tried of each stage; the first one also warms up what later ones find ready, so the last counts."""

FEWEST_STEPS = 20
"""Fewer steps than this are not worth the trials."""


@dataclass(frozen=True, slots=True)
class StageCost:
    """Steps of a stage that are left, and the seconds that one takes."""

    stage: Stage
    steps: int
    step_s: float

    @property
    def seconds(self) -> float:
        """Seconds of all of them."""
        return self.steps * self.step_s


def stage_costs(
    config: TrainConfig, state: TrainState, loader: BatchLoader, group: ProcessGroup
) -> tuple[StageCost, ...]:
    """Time a step of each stage that is not over yet: reading, loss and gradients; none if few are left.

    A copy of the network is tried, so the training goes on as if nothing had been. Left out are validation,
    saving and the update of the weights, which are small beside it.
    """
    if config.steps - state.history.step < FEWEST_STEPS:
        return ()
    compute_loss = loss_function(copy.deepcopy(state.module).train(), config, group.device)
    costs, end = [], 0
    for stage in config.stages:
        start, end = end, end + stage.steps
        left = min(stage.steps, end - state.history.step)
        if left <= 0:
            continue
        for trial in range(TRIALS):
            began = time.perf_counter()
            step = start + trial % stage.steps
            batch = loader.batch(step, stage.batch, rank=group.rank, ranks=group.world_size)
            compute_loss(batch, stage.context_loss).backward()  # type: ignore[no-untyped-call]
            step_s = time.perf_counter() - began
        costs.append(StageCost(stage, left, step_s))
    return tuple(costs)
