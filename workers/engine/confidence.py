"""Sum up how sure a network was of its labels."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.card import ModelCard
from model.inference.probabilities import temperature_of
from wsi.plan import Plan
from wsi.writing.label_store import LabelStore

STATED = (0.5, 0.7, 0.9)
"""Probabilities below which the share of the tissue is told."""


def confidence_facts(
    card: ModelCard,
    plan: Plan,
    labels: LabelStore,
    probabilities: LabelStore,
    progress: Callable[[float], None] = lambda _share: None,
) -> dict[str, Any]:
    """Return the `confidence` member of `result.json`: means, and shares under stated probabilities.

    Of all labelled pixels and of those of each class; a class without pixels has null. Memory: two tiles and
    a table of 256 x 256 counts.

    Raises:
        LabelStoreError: a stored patch cannot be read.
    """
    counts = _counts(plan, labels, probabilities, progress)
    return {
        "calibrated": card.calibration is not None,
        "temperature": temperature_of(card),
        **_facts(counts[1:].sum(0)),
        "classes": [
            {"value": one.value, "name": one.name, **_facts(counts[one.value])} for one in card.classes
        ],
    }


def _counts(
    plan: Plan, labels: LabelStore, probabilities: LabelStore, progress: Callable[[float], None]
) -> NDArray[np.int64]:
    """Count pixels by label and probability: (256, 256)."""
    counts = np.zeros(256 * 256, np.int64)
    side = plan.grid.slices_per_side
    for number, patch in enumerate(plan.patches, start=1):
        for x, y in patch.slices:
            place = (patch.column * side + x, patch.row * side + y)
            label, probability = labels.tile(*place), probabilities.tile(*place)
            if label is not None and probability is not None:
                pairs = label.astype(np.int64) * 256 + probability
                counts += np.bincount(pairs.ravel(), minlength=len(counts))
        progress(number / len(plan.patches))
    return counts.reshape(256, 256)


def _facts(counts: NDArray[np.int64]) -> dict[str, Any]:
    """Return mean and shares of pixels counted by probability, (256,)."""
    pixels = int(counts.sum())
    if not pixels:
        return {"mean": None, "below": None}
    values = np.arange(256) / 255
    return {
        "mean": round(float(counts @ values) / pixels, 6),
        "below": [
            {"probability": stated, "fraction": round(int(counts[values < stated].sum()) / pixels, 6)}
            for stated in STATED
        ],
    }
