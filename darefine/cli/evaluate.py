"""Command `darefine evaluate`: score networks on slides with truth, or a label map against its truth."""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from model.card import ModelCard
from model.data.class_scheme import ClassScheme
from model.data.index import SlideIndex
from model.data.presets import PRESETS
from model.evaluation import figures, report
from model.evaluation.benchmark import On, SetName, Task, calibrate_card, evaluate_index
from model.evaluation.label_maps import check_scheme, compare, described_classes, open_truth, scheme_of
from model.evaluation.metrics import ConfusionMatrix, Metrics
from model.inference.cpu_tuning import tune_malloc
from wsi.atomic import write_atomically
from wsi.palette import LabelClass
from wsi.writing.label_tiff import LabelTiff

from .progress_bar import progress_bar

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
OVERVIEW_PX = 800
"""Longest side of a whole label map in a picture, px."""
MAP_INCH = 4.5


@click.command()
@click.option("--data", type=FILE, help="index.json of `darefine prepare`: slides with truth.")
@click.option("--weights", type=FILE, multiple=True, help="Model card; give several to compare networks.")
@click.option(
    "--set",
    "set_name",
    type=click.Choice(["test", "validation", "train"]),
    default="test",
    show_default=True,
    help="Which slides of the index.",
)
@click.option(
    "--on",
    type=click.Choice(["slices", "slides"]),
    help="The planned slices, as the paper does, or whole slides, as the service does.  "
    "[default: slices where planned]",
)
@click.option(
    "--patches", type=click.IntRange(min=1), help="Patches of each slide, evenly spread.  [default: all]"
)
@click.option(
    "--examples", type=click.IntRange(min=1), default=4, show_default=True, help="Rows of the figure."
)
@click.option("--device", default="auto", show_default=True)
@click.option("--precision", default="auto", show_default=True, help="fp32, bf16 or fp16.")
@click.option(
    "--calibrate",
    "recalibrate",
    is_flag=True,
    help="First fit each card's temperature on the validation slides of --data, and write it into the card.",
)
@click.option("--labels", type=FILE, help="A finished label map, such as the service's labels.tif.")
@click.option(
    "--truth", type=FILE, help="Its truth: a TIFF of the same size, or annotations as GeoJSON or XML."
)
@click.option(
    "--classes",
    metavar="FILE|PRESET",
    help=f"How annotations name the classes: JSON, as for `prepare slides`, or {', '.join(PRESETS)}.  "
    "[default: as the label map does]",
)
@click.option(
    "--missed-as",
    metavar="CLASS",
    help="With --labels: count pixels that were not analysed as this class.  [default: leave them out]",
)
@click.option("--out", type=FOLDER, help="Folder for results.md, results.json and pictures.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def evaluate(
    data: Path | None,
    weights: tuple[Path, ...],
    labels: Path | None,
    truth: Path | None,
    classes: str | None,
    missed_as: str | None,
    out: Path | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Score networks or label maps against truth: MIoU, IoU of each class, accuracy, ICIAR2018 score.

    With --data and --weights: every network on the slides of an index, by the road of inference. With
    --labels and --truth: one label map as it is; pixels that were not analysed show in the coverage.
    """
    if out is not None:
        figures.require_matplotlib()
    if data and weights and not (labels or truth or classes or missed_as):
        outcome = evaluate_networks(data, weights, **chosen)
    elif labels and truth and not data and len(weights) <= 1:
        outcome = evaluate_label_map(labels, truth, weights, scheme=classes, missed_as=missed_as)
    else:
        raise click.UsageError(
            "give --data INDEX --weights CARD [--weights ...], "
            "or --labels TIFF --truth TIFF|GEOJSON|XML [--weights CARD]"
        )
    if out is not None:
        outcome.write(out)
    click.echo(outcome.as_json() if as_json else outcome.text, nl=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Tables, results and pictures of an evaluation."""

    text: str
    """Markdown."""
    results: dict[str, Any]
    draw: Callable[[Path], None]
    """Function that writes the pictures into a folder."""

    def as_json(self) -> str:
        """Return the text of results.json."""
        return json.dumps(self.results, indent=1) + "\n"

    def write(self, out: Path) -> None:
        """Write results.md, results.json and the pictures into a folder."""
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "results.md", self.text.encode())
        write_atomically(out / "results.json", self.as_json().encode())
        self.draw(out)


def evaluate_networks(
    data: Path,
    weights: tuple[Path, ...],
    *,
    set_name: SetName,
    on: On | None,
    patches: int | None,
    recalibrate: bool,
    **options: Any,
) -> Outcome:
    """Evaluate every card on a slide index; with `recalibrate`, fit its temperature before and save it.

    Raises:
        ModelError: when index, card or weights are wrong.
        WsiError: when a slide cannot be read.
    """
    tune_malloc()
    task = Task.of(SlideIndex.load(data), set_name, on=on, patches_per_slide=patches)
    if recalibrate:
        for path in weights:
            calibrate_card(path, task.index, set_name, device=options["device"])
    with progress_bar() as show:
        evaluations, examples = evaluate_index(weights, task, progress=show, **options)
    made_by = _provenance(data, task)
    names = [evaluation.card.name for evaluation in evaluations]
    classes = task.index.classes

    def draw(out: Path) -> None:
        rows = figures.example_rows(examples.all, names, classes)
        figures.save_figure(rows, ["slide", "truth", *names], classes, out / "figure.png")
        for evaluation in evaluations:
            counts = evaluation.total.all
            draw_confusion(counts, counts.metrics(), classes, evaluation.card.name, out)

    text = report.results_markdown(evaluations, made_by)
    return Outcome(text, report.results_json(evaluations, made_by), draw)


def _provenance(data: Path, task: Task) -> dict[str, Any]:
    return {
        "software": software(),
        "index": {**file_facts(data), "source": task.index.source},
        "set": task.set_name,
        "on": task.on,
        "patches_per_slide": task.patches_per_slide,
    }


def evaluate_label_map(
    labels: Path, truth: Path, weights: tuple[Path, ...], *, scheme: str | None, missed_as: str | None
) -> Outcome:
    """Evaluate one label map against its truth; `scheme` is a preset or a file (ClassScheme).

    Raises:
        ModelError: when truth, card or classes do not fit.
        WsiError: when a file cannot be read.
    """
    with ExitStack() as stack:
        predicted = stack.enter_context(LabelTiff(labels))
        classes = ModelCard.load(weights[0]).classes if weights else described_classes(predicted)
        named = _scheme(scheme, classes)
        true = stack.enter_context(open_truth(truth, predicted, named))
        show = stack.enter_context(progress_bar())
        missed_value = None if missed_as is None else value_of(missed_as, classes)
        confusion = compare(
            predicted, true, classes=len(classes), progress=lambda share: show(labels.name, share)
        )
        made_by = {
            "software": software(),
            "labels": {**file_facts(labels), "made_by": predicted.description},
            "truth": file_facts(truth),
            "missed_as": missed_as,
        }
        maps = (predicted.overview(OVERVIEW_PX), true.overview(OVERVIEW_PX))

    def draw(out: Path) -> None:
        colours = figures.palette_of(classes).lookup()
        rows = [figures.Row("", tuple(colours[one] for one in maps))]
        titles = [labels.name, truth.name]
        figures.save_figure(rows, titles, classes, out / "figure.png", panel_inch=MAP_INCH)
        metrics = confusion.metrics(missed_as=missed_value)
        draw_confusion(confusion, metrics, classes, labels.stem, out)

    names = tuple(entry.name for entry in classes)
    text = report.label_map_markdown(confusion, names, made_by, missed_as=missed_value)
    return Outcome(text, report.label_map_json(confusion, names, made_by, missed_as=missed_value), draw)


def _scheme(name: str | None, classes: Sequence[LabelClass]) -> ClassScheme:
    if name is None:
        return scheme_of(classes)
    scheme = PRESETS.get(name) or ClassScheme.load(Path(name))
    check_scheme(scheme, classes)
    return scheme


def draw_confusion(
    confusion: ConfusionMatrix, metrics: Metrics, classes: Sequence[LabelClass], name: str, out: Path
) -> None:
    """Write the picture confusion-<name>.png."""
    title = f"{name}\nMIoU {report.percent(metrics.miou)} %, accuracy {report.percent(metrics.accuracy)} %"
    names = [entry.name for entry in classes]
    figures.save_confusion(confusion, names, title, out / f"confusion-{name}.png")


def value_of(name: str, classes: Sequence[LabelClass]) -> int:
    """Return the value of the class of that name.

    Raises:
        BadParameter: when no class has it.
    """
    for entry in classes:
        if entry.name == name:
            return entry.value
    raise click.BadParameter(
        f"no class is called {name!r}; there are {', '.join(entry.name for entry in classes)}",
        param_hint="--missed-as",
    )


def software() -> str:
    """Return name and version of this software, as in every result."""
    return f"darefine {version('darefine')}"


def file_facts(path: Path) -> dict[str, str]:
    """Return name and SHA-256 of a file, without its folder, which is private."""
    with path.open("rb") as file:
        return {"file": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
