"""Recipes of the study: that of each row, and those of the stems that the rows start from.

As the paper's networks start from encoders that ImageNet has taught, these start from encoders that a stem
has taught: one for slices, and one for contexts where there are some. A stem is trained once a seed, so the
share of the budget that it takes is paid once for all rows.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from model.card import NetworkConfig
from model.training.config import Stage, TrainConfig
from model.training.from_scratch_recipe import (
    CONTEXT_ALONE,
    CONTEXT_RATE,
    CONTEXT_STEP_COST,
    LARGE_SLICES,
    PHANTOM_INPUT,
    SLICE_RATE,
    context_stage,
    from_scratch_recipe,
    phantom_card,
    slice_stages,
    zoomed_stages,
)
from wsi.grid import ContextMode

from .plan import Plan
from .rows import SIZES, Row

SAVED_EVERY = 20
"""Steps between saved states: what is lost when a run is killed."""

CONTEXT_STEM = {"context_encoder.": "context_encoder.", "context_adapt.3.": "context_adapt.3."}
"""Prefixes of the weights that the stem of contexts teaches, by prefixes in the network that is taught."""

SLICE_STEM = {"encoder.": "encoder."}
"""The same of the stem of slices."""

TWO_SIZES = {**SLICE_STEM, "context_encoder.": "encoder."}
"""The same for a network whose second input is the slice again: what taught one encoder suits both."""


def run_name(row: str, seed: int) -> str:
    """Return the name of a run's card and files."""
    return f"study-{row}-seed{seed}"


@dataclass(frozen=True, slots=True)
class Stem:
    """Training whose encoder other networks start from."""

    config: TrainConfig
    teaches: Mapping[str, str]
    """Prefixes of the weights that others take over, by the prefixes that these have in the others."""

    @property
    def mark(self) -> str:
        """SHA-256 of its settings."""
        parts = [self.config.to_json(), self.config.card.to_json()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def config_of(row: Row, seed: int, plan: Plan) -> TrainConfig:
    """Return the recipe of the demo weights with the plan's steps, without what the stems are taught.

    It is the same for every row but for what its network does not have. A U-Net has another encoder than the
    others, so it learns from slices zoomed out by itself.
    """
    network = row.network
    config = _recipe(run_name(row.name, seed), network, seed, plan, context=row.context)
    context, large = round(plan.steps * CONTEXT_ALONE), math.ceil(plan.steps * LARGE_SLICES)
    slices = plan.steps - context - large
    if not network.sees_patch:
        slices += round(context * CONTEXT_STEP_COST)
    first = zoomed_stages(plan.zoomed_steps) if network.architecture == "unet" else ()
    return replace(config, stages=(*first, *slice_stages(slices, large)), shuffled_contexts=row.shuffled)


def stems_of(row: Row, seed: int, plan: Plan) -> tuple[Stem, ...]:
    """Return the stems that a row starts from: the first stages of the demo weights' recipe."""
    base = SIZES[plan.network].base
    if row.network.architecture == "unet":
        return ()
    single = replace(base, second_input="single", fusion="add")
    zoomed = _recipe(run_name("slice-stem", seed), single, seed, plan)
    teaches = TWO_SIZES if row.network.second_input == "multi-size" else SLICE_STEM
    stems = [Stem(_without_end(zoomed, zoomed_stages(plan.zoomed_steps)), teaches)]
    if row.network.sees_patch:
        dual = replace(base, second_input="dual", fusion="add")
        alone = replace(_recipe(run_name("context-stem", seed), dual, seed, plan), learning_rate=CONTEXT_RATE)
        context = context_stage(round(plan.steps * CONTEXT_ALONE))
        stems.append(Stem(_without_end(alone, (context,)), CONTEXT_STEM))
    return tuple(stems)


def _without_end(config: TrainConfig, stages: tuple[Stage, ...]) -> TrainConfig:
    return replace(config, stages=stages, recalibration=None)


def _recipe(
    name: str, network: NetworkConfig, seed: int, plan: Plan, *, context: ContextMode = "patch"
) -> TrainConfig:
    card = phantom_card(name, network, replace(PHANTOM_INPUT, context=context))
    recipe = from_scratch_recipe(card, steps=plan.steps, seed=seed)
    return replace(recipe, learning_rate=SLICE_RATE, checkpoint_every=SAVED_EVERY)


def fingerprint(row: Row, seed: int, plan: Plan) -> str:
    """Return the SHA-256 of all that is decided before a run begins."""
    config, stems = config_of(row, seed, plan), stems_of(row, seed, plan)
    taught = [[stem.config.to_json(), stem.config.card.to_json(), stem.teaches] for stem in stems]
    parts = [asdict(plan), [config.to_json(), config.card.to_json()], *taught]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
