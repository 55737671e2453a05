"""Forecasts in words."""

import pytest

from darefine.cli.train_forecast import duration, forecast_text
from model.data.batch import BatchSpec
from model.training.config import Stage
from model.training.forecast import StageCost

CONTEXTS = Stage(60, BatchSpec(slice_px=192, patches=32, slices=0), context_loss=1.0)
SLICES = Stage(40, BatchSpec(slice_px=192, patches=16, slices=1))


@pytest.mark.parametrize(
    ("seconds", "words"), [(1, "1 min"), (61, "2 min"), (3600, "1 h 00 min"), (7379, "2 h 03 min")]
)
def test_durations_are_rounded_up_to_a_minute(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_short_training_is_forecast_without_advice() -> None:
    costs = [StageCost(CONTEXTS, 60, 1.5), StageCost(SLICES, 40, 2.25)]
    assert forecast_text(costs, steps_option="--steps 100", resume=False) == (
        "About 3 min on this machine: "
        "60 steps of 1.5 s (contexts), 40 steps of 2.2 s (16 x 1 slices of 192 px)."
    )
    assert forecast_text([], steps_option="", resume=True) == ""


def test_a_long_training_is_told_what_makes_it_shorter() -> None:
    contexts, slices = StageCost(CONTEXTS, 600, 60.0), StageCost(SLICES, 400, 9.0)
    text = forecast_text([contexts, slices], steps_option="--steps 1000", resume=True)
    assert text.startswith("About 11 h 00 min on this machine from here: ")
    assert "fewer steps (--steps 1000 now)" in text
    assert "--context-ratio" in text
    assert "--context-ratio" not in forecast_text([slices], steps_option="--steps 1000", resume=True)
