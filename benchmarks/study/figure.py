"""Picture docs/study.png: slide, truth and every network side by side, like the paper's Fig. 5."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from model.card import ModelCard
from model.data.index import SlideIndex
from model.evaluation.benchmark import Task, evaluate_index
from model.evaluation.figures import example_rows, save_figure

from .recipes import run_name
from .results import Run
from .rows import Row
from .runs import RunSettings

EXAMPLES = 4
"""Test slides shown, one patch of each."""

PANEL_INCH = 1.5


def networks_at_hand(runs: Sequence[Run], rows: Sequence[Row], weights: Path) -> dict[Path, str]:
    """Return the cards of the first seed's runs whose weights lie in `weights`, with their rows' titles."""
    marks = {(run["row"], run["seed"]): run["sha256"] for run in runs}
    first = min((seed for _, seed in marks), default=0)
    cards = {weights / f"{run_name(row.name, first)}.json": row for row in rows if (row.name, first) in marks}
    return {
        path: row.title
        for path, row in cards.items()
        if path.exists() and ModelCard.load(path).weights.sha256 == marks[row.name, first]
    }


def draw(
    networks: Mapping[Path, str],
    index: SlideIndex,
    settings: RunSettings,
    precision: str,
    out: Path,
    progress: Callable[[str, float], None],
) -> None:
    """Label the middle patch of the first test slides with every network and write the picture.

    Raises:
        ReportError: when matplotlib is missing.
        ModelError: when a card does not fit the index.
        WsiError: when a slide cannot be read.
    """
    cohort = replace(index.cohort, test=index.cohort.test[:EXAMPLES])
    task = Task.of(replace(index, cohort=cohort, test=()), "test", patches_per_slide=1)
    evaluations, examples = evaluate_index(
        list(networks),
        task,
        examples=EXAMPLES,
        device=settings.device,
        precision=precision,
        progress=lambda name, done: progress(f"{name} figure", done),
    )
    names = [evaluation.card.name for evaluation in evaluations]
    pictures = example_rows(examples.all, names, index.classes)
    out.parent.mkdir(parents=True, exist_ok=True)
    titles = ["slide", "truth", *networks.values()]
    save_figure(pictures, titles, index.classes, out, panel_inch=PANEL_INCH)
