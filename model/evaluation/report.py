"""Report evaluations as Markdown tables in the layout of the paper's Table II, and as JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ..card import ModelCard
from .evaluate import Evaluation, Tally
from .intervals import COVERED, score_intervals
from .metrics import ConfusionMatrix, Metrics
from .regions import MIXED_SHARE

PAPER_WIDTH = 64
"""Stem channels of the paper's encoders; a table names any other width."""

IN_PERCENT = (
    "All values in percent; a dash stands for a class without truth, or for 0/0. MIoU is the mean over the "
    "classes that are in the truth or predicted, MIoU of truth that over those in the truth."
)

MODE_TEXT = {
    "slices": "the planned slices, each with its patch as context",
    "slides": "every pixel with truth, by patches and tiles as the service labels them",
}
"""`benchmark.Task.on` -> its words in a report."""


def network_cells(card: ModelCard) -> tuple[str, str, str]:
    """Name encoder, decoder and input as Table II does, such as ("ResNet50_50", "attention", "dual")."""
    network = card.network
    width = "" if network.encoder_width == PAPER_WIDTH else f" ({network.encoder_width} wide)"
    if network.architecture == "unet":
        return f"U-Net{width}", "U-Net", network.second_input
    second = "" if network.second_input == "single" else f"_{network.context_depth}"
    return f"ResNet{network.encoder_depth}{second}{width}", network.fusion, network.second_input


def score_cells(metrics: Metrics) -> list[str]:
    """Format both MIoU, IoU of each class (a dash without truth), accuracy and score in percent."""
    iou = [value if known else math.nan for value, known in zip(metrics.iou, metrics.in_truth, strict=True)]
    scores = (metrics.miou, metrics.miou_of_truth, *iou, metrics.accuracy, metrics.score)
    return [percent(value) for value in scores]


def percent(value: float) -> str:
    """Format a fraction as percent with one decimal; a dash for 0/0."""
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Format rows as a Markdown table, the first being its header, padded to read well as plain text."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def results_table(evaluations: Sequence[Evaluation], *, mixed: bool = False) -> str:
    """Format scores as the paper's Table II, one row a network, over all patches or the mixed ones."""
    head = ["encoder", "decoder", "input", *score_header(evaluations[0].card), "model"]
    rows = [head]
    for evaluation in evaluations:
        total = evaluation.total.mixed if mixed else evaluation.total.all
        rows.append([*network_cells(evaluation.card), *score_cells(total.metrics()), evaluation.card.name])
    return markdown(rows)


def slides_table(evaluation: Evaluation) -> str:
    """Format one network's scores over all patches, one row a slide."""
    rows = [[evaluation.unit, "patches", "mixed", *score_header(evaluation.card)]]
    for name, tally in evaluation.slides:
        counts = [str(tally.patches), str(tally.mixed_patches)]
        rows.append([name, *counts, *score_cells(tally.all.metrics())])
    return markdown(rows)


def score_header(card: ModelCard) -> list[str]:
    """Return the column headings of `score_cells`."""
    return _score_header([entry.name for entry in card.classes])


def _score_header(names: Sequence[str]) -> list[str]:
    return ["MIoU", "MIoU of truth", *(f"IoU {name}" for name in names), "Accuracy", "Score"]


def confusion_table(confusion: ConfusionMatrix, names: Sequence[str]) -> str:
    """Format a confusion matrix in percent of each true class: a row a true class, a column a predicted one.

    Classes go by their names; a class without truth has dashes. Pixels without a prediction have a column of
    their own, if there are any.
    """
    counts, columns = confusion.counts, [f"as {name}" for name in names]
    if confusion.missed.any():
        counts, columns = np.column_stack([counts, confusion.missed]), [*columns, "not analysed"]
    rows = [["truth", *columns, "truth, px"]]
    for name, row in zip(names, counts, strict=True):
        total = int(row.sum())
        shares = [percent(count / total if total else math.nan) for count in row.tolist()]
        rows.append([name, *shares, f"{total}"])
    return markdown(rows)


def results_markdown(evaluations: Sequence[Evaluation], made_by: Mapping[str, Any]) -> str:
    """Format results.md: provenance, all patches, mixed patches, and slides of each network."""
    total = evaluations[0].total
    parts = [
        "# Evaluation",
        _provenance_text(evaluations[0], made_by),
        f"## All patches ({total.patches})",
        results_table(evaluations),
        f"## Mixed patches ({total.mixed_patches})",
        f"Patches whose second class has at least {percent(MIXED_SHARE)} % of the pixels with truth.",
        results_table(evaluations, mixed=True),
    ]
    for evaluation in evaluations:
        card = evaluation.card
        parts += [
            f"## {card.name}",
            f"Version {card.version}, weights sha256 `{card.weights.sha256}`.",
            f"{evaluation.seconds:.0f} s on {evaluation.device} in {evaluation.dtype}.",
            *_calibration_text(evaluation),
            "Where the pixels of each class go, over all patches:",
            confusion_table(evaluation.total.all, [entry.name for entry in card.classes]),
            *_intervals_text(evaluation),
            slides_table(evaluation),
        ]
    return "\n\n".join(parts) + "\n"


def results_json(evaluations: Sequence[Evaluation], made_by: Mapping[str, Any]) -> dict[str, Any]:
    """Build results.json: each network, its totals and its slides; scores are fractions, null is 0/0."""
    return {**made_by, "mixed_share": MIXED_SHARE, "models": [_model_json(e) for e in evaluations]}


def confusion_json(
    confusion: ConfusionMatrix, names: tuple[str, ...], *, missed_as: int | None = None
) -> dict[str, Any]:
    """Return scores with their counts: `confusion` (row = truth) and, by true class, the `missed` pixels."""
    counts = {"confusion": confusion.counts.tolist(), "missed": confusion.missed.tolist()}
    return confusion.metrics(missed_as=missed_as).to_json(names) | counts


def label_map_markdown(
    confusion: ConfusionMatrix,
    names: tuple[str, ...],
    made_by: Mapping[str, Any],
    *,
    missed_as: int | None = None,
) -> str:
    """Format results.md of one label map against its truth."""
    metrics = confusion.metrics(missed_as=missed_as)
    head = [*_score_header(names), "coverage"]
    compared = f"`{made_by['labels']['file']}` against `{made_by['truth']['file']}`"
    missed = "are left out" if missed_as is None else f"count as {names[missed_as - 1]}"
    parts = [
        "# Evaluation of a label map",
        f"{compared}; {made_by['software']}. {IN_PERCENT}",
        markdown([head, [*score_cells(metrics), percent(metrics.coverage)]]),
        (
            "Coverage is the share of the truth that was analysed; "
            f"pixels that were not {missed} in the other scores."
        ),
        "Where the pixels of each class go:",
        confusion_table(confusion, names),
    ]
    return "\n\n".join(parts) + "\n"


def label_map_json(
    confusion: ConfusionMatrix,
    names: tuple[str, ...],
    made_by: Mapping[str, Any],
    *,
    missed_as: int | None = None,
) -> dict[str, Any]:
    """Build results.json of one label map against its truth; scores are fractions, null is 0/0."""
    scores = confusion_json(confusion, names, missed_as=missed_as)
    return {**made_by, "classes": list(names), **scores}


def _provenance_text(evaluation: Evaluation, made_by: Mapping[str, Any]) -> str:
    slides = f"{len(evaluation.slides)} {evaluation.unit}s"
    limit = made_by["patches_per_slide"]
    some = "" if limit is None else f" At most {limit} patches of each slide, evenly spread."
    what = f"Set `{made_by['set']}` of `{made_by['index']['file']}`: {slides}"
    return f"{what}, {MODE_TEXT[made_by['on']]}.{some} Made by {made_by['software']}. {IN_PERCENT}"


def _calibration_text(evaluation: Evaluation) -> list[str]:
    error = evaluation.calibration
    if error is None:
        return []
    text = (
        f"Expected calibration error {percent(error.error)} % at the card's temperature of "
        f"{error.temperature:g}, {percent(error.error_uncalibrated)} % at 1 ({error.pixels} pixels)."
    )
    return [text]


def _intervals_text(evaluation: Evaluation) -> list[str]:
    intervals = score_intervals([tally.all for _, tally in evaluation.slides])
    if intervals is None:
        return []
    (low, high), (least, most) = intervals.miou_of_truth, intervals.accuracy
    text = (
        f"{percent(COVERED)} % intervals, {intervals.units} rows of the table below resampled: MIoU of truth "
        f"{percent(low)} to {percent(high)}, accuracy {percent(least)} to {percent(most)}."
    )
    return [text]


def _model_json(evaluation: Evaluation) -> dict[str, Any]:
    card = evaluation.card
    encoder, decoder, second_input = network_cells(card)
    names = tuple(entry.name for entry in card.classes)
    intervals = score_intervals([tally.all for _, tally in evaluation.slides])
    return {
        "name": card.name,
        "version": card.version,
        "sha256": card.weights.sha256,
        "encoder": encoder,
        "decoder": decoder,
        "input": second_input,
        "device": evaluation.device,
        "dtype": evaluation.dtype,
        "seconds": round(evaluation.seconds, 2),
        "total": _tally_json(evaluation.total, names),
        "intervals": None if intervals is None else intervals.to_json(),
        "calibration": None if evaluation.calibration is None else asdict(evaluation.calibration),
        "slides": [{"name": name, **_tally_json(tally, names)} for name, tally in evaluation.slides],
    }


def _tally_json(tally: Tally, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "patches": tally.patches,
        "mixed_patches": tally.mixed_patches,
        "all": confusion_json(tally.all, names),
        "mixed": confusion_json(tally.mixed, names),
    }
