"""Report what `darefine prepare` made: notes, areas of the classes, planned slices."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Column, Table

from model.data.index import PlannedSlice, SlideIndex
from model.data.prepared import PreparedSlides
from model.data.slices import Quota
from wsi.palette import LabelClass


def finish_index(
    index: SlideIndex,
    prepared: PreparedSlides,
    quotas: Mapping[str, Quota],
    out: Path,
    started: float,
    notes: Sequence[str] = (),
) -> None:
    """Write `out`/index.json and report what is in it, with `notes` on the whole of it.

    `started` is the `time.perf_counter()` of when work began.
    """
    path = out / "index.json"
    index.save(path)
    console = Console()
    for note in (*notes, *_notes(index, prepared)):
        console.print(note, style="yellow", markup=False, highlight=False, soft_wrap=True)
    console.print(_areas(prepared, index.classes))
    if quotas:
        console.print(_slices(index, quotas))
    for name, quota in quotas.items():
        if quota.slices and getattr(index.cohort, name) and not getattr(index, name):
            console.print(
                f"No slice fits a slide of the {name} set: all its places will be used.", style="yellow"
            )
    click.echo(f"{path} in {time.perf_counter() - started:.0f} s")


def _notes(index: SlideIndex, prepared: PreparedSlides) -> list[str]:
    """Return the notes on slides and on classes."""
    notes = [note for slides in prepared.sets().values() for slide in slides for note in slide.notes]
    if absent := prepared.untaught(index.classes):
        notes.append(
            f"No slide to train on has {', '.join(absent)}: training goes on without, and the network will "
            "never choose it. Add slides that have it, or other ones to train on."
        )
    for name, slides in prepared.sets().items():
        if slides and not any(sum(slide.pixels[1:]) for slide in slides):
            notes.append(f"No slide of the {name} set has any truth.")
    return notes


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
