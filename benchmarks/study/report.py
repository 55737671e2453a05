"""Report study.md: the paper's two tables, contexts by place, mixed patches, calibration, and the orders."""

import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model.evaluation.regions import MIXED_SHARE
from model.evaluation.report import markdown, percent
from model.network.flops import COUNTED_SIDE_PX
from model.training.from_scratch_recipe import CONTEXT_ALONE, CONTEXT_STEP_COST

from .costs import gflop_of
from .orders import Part, metrics_of, miou_interval, spread
from .plan import Plan
from .results import Run
from .rows import FUSIONS, INPUT_MODES, PLACES, SIZES, Row, rows_of
from .verdict import verdict

CLASSES = ("normal", "benign", "in situ", "invasive")
SCORES = ("MIoU", *(f"IoU {name}" for name in CLASSES), "Accuracy", "Score")
ABOUT = (
    "A cell is the mean over the seeds ± the standard deviation between them (n - 1), in percent; a dash "
    "is 0/0 or not run yet. The seed changes the network's first weights and all chance in training, not "
    "the slides. The interval is that of the mean MIoU when slides and seeds are drawn again with "
    "replacement: the slide is the unit, for its slices are alike. The slides are phantoms, made so that "
    "a slice alone says something of its class and its surroundings say more; this is no statement about "
    "tissue. Score (paper Eq. 10-11) takes the classes as severities: 1 minus the error over the largest "
    "there could be, without pixels that are normal in both."
)
PRIOR_ART = (
    "A context that is aligned with the slice is not new: HookNet (van Rijthoven et al. 2021), GLNet "
    "(Chen et al. 2019), AWMF-CNN (Tokunaga et al. 2019) and CGS-Net have it, and GLNet encodes its context "
    "once and crops it for each patch, as is done here in all rows. Ours are the crops at DA-RefineNet's "
    "four scales, and windows centred on each slice that are cut from one field. What a context for each "
    "slice would cost is not part of this (decision 0023: 33 instead of 2.9 % of ResNet-50's time)."
)
PLACES_NOTE = (
    "None of these is in the paper but the first. Without the coarse map, the context's whole map is "
    "left out of the first block. Shuffled is a control: trained with the contexts of other patches, it "
    "can learn nothing from them; it is tested with its own. Hooked joins a centred context once, at the "
    "bottleneck, cropped at the slice, as HookNet does; it is not HookNet, whose branches have decoders "
    "of their own. Aligned is attention that knows where in the patch the slice lies; centred is aligned "
    "with a context of its own around each slice. Light has 1x1 convs in the decoder, as Light-Weight "
    "RefineNet (Nekrasov et al. 2018)."
)
CALIBRATION_NOTE = (
    "Expected calibration error (15 bins) on the test slices, in percent, as trained and with the "
    "temperature that was fitted on the validation slides, which are few."
)
TABLE_1 = (
    "All but the U-Net decode with addition, as in the paper's Table I. GFLOP are of a slice of "
    f"{COUNTED_SIDE_PX} px, and of a context of that size, which a patch needs once."
)
MIXED_NOTE = (
    f"The slices of patches whose second class has at least {percent(MIXED_SHARE)} % of the pixels "
    "with truth."
)
FUSIONS_NOTE = "Slice and context as input in all of them."


def report(results: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """Return the text of study.md. Partial results give partial tables.

    Args:
        results: as in the results file.
        pictures: what each picture shows, and its path as seen from study.md.
    """
    plan, runs = Plan(**results["plan"]), results["runs"]
    rows = rows_of(SIZES[plan.network])
    named = {row.name: row for row in rows}
    inputs, fusions, places = ([named[name] for name in names] for names in (INPUT_MODES, FUSIONS, PLACES))
    parts = [
        "# The paper's comparison on phantom slides",
        f"`{results['command']}` with {results['software']}.",
        _setting(plan, results["cohort"], runs),
        ABOUT,
        PRIOR_ART,
        "## Table I: what the network sees",
        TABLE_1,
        *_tables(inputs, runs),
        "## Table II: how the two are fused",
        FUSIONS_NOTE,
        *_tables(fusions, runs),
        "## Where the context lies and where it joins, and a light decoder",
        PLACES_NOTE,
        *_tables(places, runs),
        "## Mixed patches alone",
        MIXED_NOTE,
        scores(rows, runs, "mixed"),
        "## Which orders come out",
        verdict(runs, named),
        "## Calibration",
        CALIBRATION_NOTE,
        _calibration_table(rows, runs),
        "## What it took",
        _time_table(rows, runs),
        *(f"![{shown}]({path})" for shown, path in pictures.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _tables(rows: Sequence[Row], runs: Sequence[Run]) -> tuple[str, str]:
    """Return the table of sizes and that of scores."""
    sizes = markdown([_size_header(), *(_size_cells(row, _of(runs, row)) for row in rows)])
    return sizes, scores(rows, runs, "all")


def scores(rows: Sequence[Row], runs: Sequence[Run], part: Part) -> str:
    """One line a row: every score as mean and spread."""

    def value(number: int, run: Run) -> float:
        metrics = metrics_of(run, part)
        return (metrics.miou, *metrics.iou, metrics.accuracy, metrics.score)[number]

    table = [["network", SCORES[0], "interval", *SCORES[1:], "runs"]]
    for row in rows:
        own = _of(runs, row)
        miou, *others = (spread(own, lambda run, k=k: value(k, run)) for k in range(len(SCORES)))  # type: ignore[misc]
        interval = miou_interval(runs, row.name, part)
        cell = "-" if interval is None else " to ".join(percent(end) for end in interval)
        table.append([row.title, miou, cell, *others, str(len(own))])
    return markdown(table)


def _setting(plan: Plan, cohort: Mapping[str, Any], runs: Sequence[Run]) -> str:
    base = SIZES[plan.network].base
    patches, mixed = (max((run[key] for run in runs), default=0) for key in ("patches", "mixed_patches"))
    alone = round(plan.steps * CONTEXT_ALONE)
    instead = round(alone * CONTEXT_STEP_COST)
    slides = {name: len(counts) for name, counts in cohort["pixels"].items()}
    return (
        f"Encoders: ResNet-{base.encoder_depth}, first {base.encoder_width} wide; "
        f"decoder {base.decoder_width} wide. The U-Net is {SIZES[plan.network].unet_width} wide at first: "
        "of the widths that are multiples of 8 the one with the nearest arithmetic a slice, "
        f"though not the nearest number of parameters. Trained on {slides['train']} slides of "
        f"{plan.train_px} px, tested on {slides['test']} others of {plan.test_px} px: "
        f"{cohort['test_slices']} slices from {patches} patches, {mixed} of them mixed.\n\n"
        "As the paper's networks start from encoders that ImageNet has taught, all but the U-Net start from "
        f"one that {plan.zoomed_steps} steps on slices zoomed out have taught, and their context encoders, "
        f"where there are any, from {alone} steps on contexts alone; both are done once a seed. Both "
        "encoders of multi-size start from the one that slices have taught. Each network then takes "
        f"{plan.steps - alone} steps on slices, and one that sees no context {instead} more, which take the "
        "time of those on contexts. The U-Net has an encoder of its own and takes all its steps from "
        "nothing. All else in the recipe is alike, the auxiliary loss of the context included: all learn at "
        "the rate that suits networks without a context. Contexts have 128 px, a "
        "sixteenth of the paper's pixels. Training is in fp32, with the last weights kept; tests are in what "
        "the device is fast at."
    )


def _of(runs: Sequence[Run], row: Row) -> list[Run]:
    return [run for run in runs if run["row"] == row.name]


def _size_header() -> list[str]:
    return [
        "network",
        "second input",
        "M parameters",
        "fp32 MB",
        "GFLOP slice",
        "GFLOP context",
        "GFLOP slice, its share of the context included",
    ]


def _size_cells(row: Row, runs: Sequence[Run]) -> list[str]:
    if not runs:
        return [row.title, row.network.second_input, *["-"] * 5]
    run = runs[0]
    context = "-" if run["context_gflop"] is None else f"{run['context_gflop']:.2f}"
    millions = run["parameters"] / 1e6
    numbers = (f"{millions:.2f}", f"{4 * millions:.1f}", f"{run['slice_gflop']:.2f}", context)
    return [row.title, row.network.second_input, *numbers, f"{gflop_of(run):.2f}"]


def _calibration_table(rows: Sequence[Row], runs: Sequence[Run]) -> str:
    table = [["network", "as trained", "with its temperature", "temperature"]]
    for row in rows:
        if own := [run for run in _of(runs, row) if run["calibration"]]:
            errors = (
                spread(own, lambda run, key=key: run["calibration"][key])  # type: ignore[misc]
                for key in ("error_uncalibrated", "error")
            )
            temperature = statistics.fmean(run["calibration"]["temperature"] for run in own)
            table.append([row.title, *errors, f"{temperature:.2f}"])
    return markdown(table)


def _time_table(rows: Sequence[Row], runs: Sequence[Run]) -> str:
    """Return the table of mean seconds of training and test, and the machines."""
    keys = ("stem_seconds", "train_seconds", "test_seconds")
    table = [["network", "steps", "stems s", "training s", "test s"]]
    for row in rows:
        if own := _of(runs, row):
            means = (statistics.fmean(run[key] for run in own) for key in keys)
            table.append([row.title, str(own[0]["steps"]), *(f"{mean:.0f}" for mean in means)])
    machines = sorted({", ".join(f"{key} {value}" for key, value in run["machine"].items()) for run in runs})
    return "\n\n".join([markdown(table), "Machines: " + "; ".join(machines) + "."])


def picture_from(figure: Path, folder: Path) -> str:
    """Return the path of a figure as study.md in `folder` names it."""
    return Path(os.path.relpath(figure.resolve(), folder.resolve())).as_posix()
