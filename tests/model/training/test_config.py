"""Stages and the learning-rate schedule."""

from dataclasses import replace

import pytest

from model.card import ModelCard
from model.data.batch import BatchSpec
from model.errors import InputError
from model.training.config import Stage, TrainConfig


@pytest.fixture
def config(card: ModelCard) -> TrainConfig:
    return TrainConfig(
        card,
        stages=(Stage(70, BatchSpec(64)), Stage(30, BatchSpec(128))),
        recalibration=Stage(2, BatchSpec(256)),
        learning_rate=0.5,
        warm_up=0.1,
    )


def test_stages_follow_one_another_and_recalibration_comes_last(config: TrainConfig) -> None:
    assert config.steps == 100
    assert [config.stage_at(step).batch.slice_px for step in (0, 69, 70, 99, 100, 101)] == [
        64,
        64,
        128,
        128,
        256,
        256,
    ]


def test_learning_rate_rises_to_its_peak_and_falls_to_zero(config: TrainConfig) -> None:
    rates = [config.learning_rate_at(step) for step in range(100)]
    assert rates.index(max(rates)) in (9, 10)
    assert max(rates) == pytest.approx(0.5)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[0] < 0.06
    assert 0 <= rates[-1] < 0.001


@pytest.mark.parametrize("arguments", [{"slice_px": 60}, {"slice_px": 0}, {"patches": 0}, {"slices": -1}])
def test_batches_that_cannot_be_are_refused(arguments: dict[str, int]) -> None:
    ((name, value),) = arguments.items()
    with pytest.raises(
        InputError, match=rf"{name}={value}\b.*patches >= 1, slices >= 0, slice_px a multiple"
    ):
        BatchSpec(**{"slice_px": 64, **arguments})


def test_a_stage_of_less_than_no_steps_is_refused() -> None:
    with pytest.raises(InputError, match="steps must be at least 0"):
        Stage(-1, BatchSpec(64))


def test_a_stage_without_slices_needs_a_context_loss() -> None:
    assert Stage(1, BatchSpec(64, slices=0), context_loss=0.5).batch.slices == 0
    with pytest.raises(InputError, match="give it a weight"):
        Stage(1, BatchSpec(64, slices=0))


def test_the_recipe_in_a_card_does_not_hold_the_card(config: TrainConfig) -> None:
    recipe = config.to_json()
    assert "card" not in recipe
    assert [stage["steps"] for stage in recipe["stages"]] == [70, 30]
    assert recipe["stages"][1]["batch"]["slice_px"] == 128
    assert recipe["recalibration"]["batch"]["slice_px"] == 256
    assert (recipe["learning_rate"], recipe["warm_up"]) == (0.5, 0.1)


def test_a_stage_may_have_a_learning_rate_of_its_own(config: TrainConfig) -> None:
    constant = replace(
        config, stages=(Stage(70, BatchSpec(64)), Stage(30, BatchSpec(128), learning_rate=0.2))
    )
    assert constant.learning_rate_at(69) == config.learning_rate_at(69)
    assert {constant.learning_rate_at(step) for step in range(70, 100)} == {0.2}


@pytest.mark.parametrize("scales", [(0.0, 1.0), (1.0, 0.5), (0.5, 1.3)])
def test_zooms_that_make_up_detail_or_nothing_are_refused(scales: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="scales"):
        Stage(1, BatchSpec(64, scales=scales))


def test_frozen_batch_norms_cannot_be_taken_anew(config: TrainConfig) -> None:
    with pytest.raises(InputError, match="recalibration"):
        replace(config, frozen_batch_norm=True)
