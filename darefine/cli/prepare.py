"""Command `darefine prepare`: make the index of slides and truths that `train` and `evaluate` read."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Column, Table

from model.data.bach import BACH_CLASSES, Glass, annotated_slides, prepare_annotated
from model.data.index import PlannedSlice, SlideIndex
from model.data.phantom import HELD_OUT_PX, PHANTOM_CLASSES, prepare_phantoms
from model.data.prepared import PreparedSlides
from model.data.slices import PAPER_INPUT, PAPER_QUOTAS, Quota
from model.data.splits import BACH_SPLITS, Split, own_split
from model.training.from_scratch_recipe import PHANTOM_INPUT
from wsi.palette import LabelClass

from .prepare_images import images
from .progress_bar import progress_bar

DEFAULT_FOLDER = "darefine-index"

Command = Callable[..., Any]

slices_option = click.option(
    "--slices",
    nargs=3,
    type=click.IntRange(min=0),
    default=tuple(quota.slices for quota in PAPER_QUOTAS.values()),
    show_default=True,
    metavar="TRAIN VALIDATION TEST",
    help="Slices wanted, the paper's numbers by default: 2/3 of the first and 3/4 of the last "
    "with benign or in situ.",
)


def context_option(default: int) -> Callable[[Command], Command]:
    """Make the option --context-ratio; phantoms are told apart at a coarser one than the paper's."""
    return click.option(
        "--context-ratio",
        type=click.IntRange(1, 32),
        default=default,
        show_default=True,
        help="Pixel size of the context over that of slices.",
    )


@click.group()
def prepare() -> None:
    """Make the index of slides and truths that `train` and `evaluate` read."""


prepare.add_command(images)


@prepare.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    metavar="INDEX_DIR",
    help=f"Folder for index.json and the truths.  [default: DIR/{DEFAULT_FOLDER}]",
)
@click.option(
    "--split",
    type=click.Choice(list(BACH_SPLITS)),
    default=None,
    help="Of A01..A10. paper (default): train 2-4, 6-9, validation 10, test 5. "
    "released: train 2-4, 6-9, validation 1, test 5, 10 "
    "(the released lists train on 1 too and have no validation).",
)
@click.option("--validation", default="", help="For other slides: STEM,STEM,... or a fraction like 0.2.")
@click.option("--test", default="", help="The same, for the slides of the test.")
@click.option(
    "--glass",
    type=click.Choice(["normal", "ignore"]),
    default="normal",
    show_default=True,
    help="What unannotated glass is: class normal, as in the paper, or no truth.",
)
@click.option(
    "--mpp",
    type=click.FloatRange(0.05, 5),
    default=PAPER_INPUT.mpp,
    show_default=True,
    help="Pixel size of slices, um/px.",
)
@context_option(PAPER_INPUT.context_ratio)
@slices_option
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Of the slices and of drawn splits.",
)
def bach(
    folder: Path,
    *,
    out: Path | None,
    split: str | None,
    validation: str,
    test: str,
    glass: Glass,
    mpp: float,
    context_ratio: int,
    slices: tuple[int, int, int],
    seed: int,
) -> None:
    """Slides with Aperio ImageScope XML beside them: ICIAR2018 (BACH) part B, or your own.

    DIR holds A01.svs, A01.xml and so on; any slide format, with the XML of the same name. Pixels in a region
    have the class that its Attribute Value or Text names ("Carcinoma in situ", "benign", ...); all others are
    normal.
    """
    started = time.perf_counter()
    out = out or folder / DEFAULT_FOLDER
    chosen = _split(folder, split, validation, test, seed)
    card_input = replace(PAPER_INPUT, mpp=mpp, context_ratio=context_ratio)
    with progress_bar() as show:
        prepared = prepare_annotated(folder, out, chosen, card_input, glass=glass, progress=show)
    quotas = _quotas(slices)
    index = prepared.index("bach", BACH_CLASSES, card_input, quotas, seed=seed)
    _finish(index, prepared, quotas, out, started)


@prepare.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--slides", "train", type=click.IntRange(min=1), default=24, show_default=True, help="To train on."
)
@click.option(
    "--validation", type=click.IntRange(min=1), default=2, show_default=True, help="Slides held out."
)
@click.option(
    "--test", type=click.IntRange(min=0), default=2, show_default=True, help="Slides kept for the test."
)
@click.option(
    "--size",
    "size_px",
    type=click.IntRange(min=1024),
    default=12_288,
    show_default=True,
    help="Side of a slide to train on, level-0 pixels.",
)
@click.option(
    "--held-out-size",
    "held_out_px",
    type=click.IntRange(min=1024),
    default=HELD_OUT_PX,
    show_default=True,
    help="Side of the others; large ones hold all four classes.",
)
@click.option(
    "--plan", is_flag=True, help="Plan slices as for BACH; else training and test go to all places."
)
@context_option(PHANTOM_INPUT.context_ratio)
@slices_option
@click.option(
    "--seed",
    type=click.IntRange(0, 100_000),
    default=1,
    show_default=True,
    help="Of the first slide of each set; the others count on from it.",
)
def phantom(
    out: Path, *, plan: bool, context_ratio: int, slices: tuple[int, int, int], seed: int, **made: int
) -> None:
    """Synthetic slides in OUT/slides, and their index: what `bach` makes, for machines without its files.

    Slides that are there from an earlier run are kept.
    """
    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    with progress_bar() as show:
        prepared = prepare_phantoms(out, seed=seed, progress=show, **made)
    card_input = replace(PAPER_INPUT, context_ratio=context_ratio)
    quotas = _quotas(slices) if plan else {}
    index = prepared.index("phantom", PHANTOM_CLASSES, card_input, quotas, seed=seed)
    _finish(index, prepared, quotas, out, started)


def _split(folder: Path, split: str | None, validation: str, test: str, seed: int) -> Split:
    if not validation and not test:
        return BACH_SPLITS[split or "paper"]
    if split is not None:
        raise click.UsageError("--split is for A01..A10; leave it out with --validation and --test.")
    return own_split(sorted(annotated_slides(folder)), validation, test, seed=seed)


def _quotas(slices: tuple[int, int, int]) -> Mapping[str, Quota]:
    """Return the paper's quotas scaled to the slices wanted, set by set."""
    return {
        name: Quota(wanted, None if paper.rare is None else round(wanted * paper.rare / paper.slices))
        for (name, paper), wanted in zip(PAPER_QUOTAS.items(), slices, strict=True)
    }


def _finish(
    index: SlideIndex, prepared: PreparedSlides, quotas: Mapping[str, Quota], out: Path, started: float
) -> None:
    """Write the index and report what is in it."""
    path = out / "index.json"
    index.save(path)
    console = Console()
    for notes in (slide.notes for slides in prepared.sets().values() for slide in slides):
        for note in notes:
            console.print(note, style="yellow", markup=False)
    console.print(_areas(prepared, index.classes))
    taught = [sum(slide.pixels[entry.value] for slide in prepared.train) for entry in index.classes]
    if absent := [entry.name for entry, px in zip(index.classes, taught, strict=True) if not px]:
        console.print(
            f"No slide to train on has {', '.join(absent)}: training will refuse. "
            "Add slides, or larger phantoms.",
            style="yellow",
        )
    if quotas:
        console.print(_slices(index, quotas))
    for name, quota in quotas.items():
        if quota.slices and getattr(index.cohort, name) and not getattr(index, name):
            console.print(
                f"No slice fits a slide of the {name} set: all its places will be used.", style="yellow"
            )
    click.echo(f"{path} in {time.perf_counter() - started:.0f} s")


def _areas(prepared: PreparedSlides, classes: Sequence[LabelClass]) -> Table:
    """Return the table of the area of each class in each slide, set by set."""
    table = _table("Truth, mm²", "slide", "um/px", *(entry.name for entry in classes), "none")
    for name, slides in prepared.sets().items():
        table.add_row(f"[bold]{name}[/]")
        for slide in slides:
            areas = [count * slide.label_mpp**2 / 1e6 for count in slide.pixels]
            cells = [f"{area:.2f}" for area in (*areas[1:], areas[0])]
            table.add_row(slide.pair.slide.stem, f"{slide.mpp:.3f}", *cells)
    return table


def _slices(index: SlideIndex, quotas: Mapping[str, Quota]) -> Table:
    """Return the table of planned slices of each set, and how many of them hold each class."""
    names = [entry.name for entry in index.classes]
    table = _table("Planned slices, and how many hold a class", "set", "slides", "slices", "wanted", *names)
    for name, quota in quotas.items():
        slices: Sequence[PlannedSlice] = getattr(index, name)
        held = [sum(planned.shares[entry.value] > 0 for planned in slices) for entry in index.classes]
        slides = len(getattr(index.cohort, name))
        table.add_row(name, *map(str, (slides, len(slices), quota.slices, *held)))
    return table


def _table(title: str, first: str, *numbers: str) -> Table:
    columns = (Column(header, justify="right") for header in numbers)
    return Table(Column(first, no_wrap=True), *columns, title=title, box=box.SIMPLE_HEAD)
