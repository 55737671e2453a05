"""The from-scratch recipe: where a network without a context spends the first stage."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.network.da_refinenet import SecondInput
from model.training.config import TrainConfig
from model.training.from_scratch_recipe import (
    PHANTOM_INPUT,
    SMALL,
    ZOOMS,
    from_scratch_recipe,
    phantom_card,
    zoomed_stages,
)


def recipe(second_input: SecondInput, steps: int = 1000) -> TrainConfig:
    network = replace(SMALL, second_input=second_input, fusion="add")
    return from_scratch_recipe(phantom_card("m", network, PHANTOM_INPUT), steps=steps, seed=1)


def test_a_network_that_sees_a_context_learns_from_contexts_first() -> None:
    first, small, large = recipe("dual").stages
    assert (first.steps, first.batch.slices) == (600, 0)
    assert (small.steps, large.steps) == (320, 80)


@pytest.mark.parametrize("second_input", ["single", "multi-size"])
def test_a_network_without_a_context_learns_from_slices_zoomed_out_first(second_input: SecondInput) -> None:
    *zoomed, small, large = recipe(second_input).stages
    assert [stage.batch.scales for stage in zoomed] == [(zoom, zoom) for zoom in ZOOMS]
    assert sum(stage.steps for stage in zoomed) == 240  # as long as 600 on contexts
    assert (small, large) == recipe("dual").stages[1:]
    # Slices grow in detail from stage to stage, and show less.
    shown = [stage.batch.slice_px / stage.batch.scales[0] for stage in (*zoomed, small)]
    assert shown == sorted(shown, reverse=True)


@given(st.integers(0, 10_000))
def test_zoomed_stages_share_their_steps(steps: int) -> None:
    counts = [stage.steps for stage in zoomed_stages(steps)]
    assert sum(counts) == steps
    assert max(counts) - min(counts) <= 1
