"""Say what a training will take on this machine, and which options make it shorter."""

from collections.abc import Sequence
from datetime import timedelta

from model.training.forecast import StageCost

LONG_S = 3600.0
"""A training that takes longer gets advice."""


def forecast_text(costs: Sequence[StageCost], *, steps_option: str, resume: bool) -> str:
    """Return the forecast of the steps that are left; empty where there are none.

    `steps_option` is the option that sets how many there are, with its value.
    """
    if not costs:
        return ""
    total = sum(cost.seconds for cost in costs)
    parts = ", ".join(f"{cost.steps} steps of {cost.step_s:.2g} s {_subject(cost)}" for cost in costs)
    text = f"About {duration(total)} on this machine{' from here' if resume else ''}: {parts}."
    if total <= LONG_S:
        return text
    return f"{text} To shorten it: {_advice(costs, total, steps_option)}."


def duration(seconds: float) -> str:
    """Return seconds as hours and minutes, rounded up to a minute."""
    minutes = max(1, -(-int(seconds) // 60))
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest:02d} min" if hours else f"{minutes} min"


def _subject(cost: StageCost) -> str:
    batch = cost.stage.batch
    what = f"{batch.patches} x {batch.slices} slices of {batch.slice_px} px" if batch.slices else "contexts"
    return f"({what})"


def _advice(costs: Sequence[StageCost], total: float, steps_option: str) -> str:
    advice = [f"fewer steps ({steps_option} now)", "a smaller --network", "a GPU (--device cuda)"]
    alone = sum(cost.seconds for cost in costs if not cost.stage.batch.slices)
    if alone > total / 4:
        advice.insert(1, "contexts of fewer pixels (an index prepared with a larger --context-ratio)")
    return ", ".join(advice)


def remaining(seconds: float) -> str:
    """Return an estimate of the time left as h:mm:ss."""
    return f"{timedelta(seconds=round(seconds))} left"
