"""Tell what becomes of the slides of a command: bars, lines, JSON, the summary, the exit code."""

import contextlib
import json
import tempfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from darefine.client import Result
from darefine.outcome import End, Outcome
from darefine.slide_files import find_slides
from darefine.slide_record import beside
from wsi.slide_folders import FoundSlide

from .progress_bar import ShowProgress, progress_bar
from .summary import in_short, write_summary
from .warning_lines import print_warnings

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def default_folder(slides: Sequence[Path]) -> Path:
    """Return the folder for the results when none is named."""
    alone = slides[0].resolve()
    return Path(f"{alone.stem}-darefine") if len(slides) == 1 else Path("darefine-results")


def some_slides(slides: Sequence[Path], *, recursive: bool, leave_out: Path) -> tuple[FoundSlide, ...]:
    """Find the slides of files and folders.

    Raises:
        UsageError: there is none.
    """
    found = find_slides(slides, recursive=recursive, leave_out=leave_out)
    if not found:
        raise click.UsageError(f"No slide in {slides[0]}. With --recursive its folders are searched too.")
    return found


def require_writable(folder: Path) -> None:
    """Make the folder, and see that files can be written there, before anything is sent.

    Raises:
        ClickException: when they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise click.ClickException(
            f"Cannot write to {folder} ({error.strerror}). Choose another --out."
        ) from error


@contextlib.contextmanager
def shown(slides: int, console: Console) -> Iterator[ShowProgress]:
    """Show a bar for each slide at work, and one for all if there are several."""
    with progress_bar(
        console=console, estimate=False, transient=True, disable=not console.is_terminal
    ) as show:
        if slides > 1:
            show("all", 0.0, facts=f"0/{slides} slides")
        yield show


def follow(
    outcomes: Generator[Outcome],
    folder: Path,
    console: Console,
    show: ShowProgress,
    *,
    slides: int,
    as_json: bool,
) -> int:
    """Tell each outcome of so many slides, write the summary into `folder`, return the exit code.

    Ctrl-C closes `outcomes`.
    """
    ends: list[End] = []
    code = 0
    try:
        with contextlib.closing(outcomes):
            for outcome in outcomes:
                ends.append(outcome.end)
                if slides > 1:
                    show("all", len(ends) / slides, facts=f"{len(ends)}/{slides} slides")
                tell(outcome, console, alone=slides == 1, as_json=as_json)
        code = int(End.FAILED in ends)
    except KeyboardInterrupt:
        click.echo("Interrupted; the same command goes on with the slides that have no result.", err=True)
        code = INTERRUPTED
    summary = write_summary(folder)
    if slides > 1:
        counts = ", ".join(f"{ends.count(end)} {end}" for end in End if end in ends)
        console.print(f"{slides} slides: {counts or 'none done'}. {summary}", soft_wrap=True)
    return code


def tell(outcome: Outcome, console: Console, *, alone: bool, as_json: bool) -> None:
    """Print what became of one slide: a line, or a table if it is alone."""
    if as_json:
        click.echo(json.dumps(outcome_document(outcome)))
    if outcome.result is None:
        prefix = "Error: " if alone else f"{outcome.end:<9}  {outcome.slide}  "
        click.echo(f"{prefix}{outcome.error}", err=True)
        return
    result = outcome.result
    warnings = f"  [yellow]{', '.join(one.code for one in result.warnings)}[/]" if result.warnings else ""
    done = "  (done before)" if outcome.end is End.SKIPPED else ""
    line = f"{outcome.end:<9}  {outcome.slide}  {in_short(result)}{warnings}{done}"
    if not alone:
        console.print(line, soft_wrap=True)
        return
    console.print(class_table(result))
    console.print(f"pixel size {result.mpp.slide:g} um ({result.mpp.source}); --mpp overrules it")
    print_warnings(console, [one.document() for one in result.warnings])
    files = ", ".join([*result.files, "result.json"])
    console.print(f"{beside(outcome.stem, '')}{{{files}}}{done}", soft_wrap=True, markup=False)


def outcome_document(outcome: Outcome) -> dict[str, Any]:
    """Return the line of JSON of one slide."""
    names = [*outcome.result.files, "result.json"] if outcome.result else []
    return {
        "slide": str(outcome.slide),
        "state": outcome.end,
        "job": outcome.job.document() if outcome.job else None,
        "result": outcome.result.document() if outcome.result else None,
        "files": {name: str(beside(outcome.stem, name)) for name in names},
        "error": outcome.error or None,
    }


def class_table(result: Result) -> Table:
    """Return the table of the area of each class."""
    table = Table("value", "class", "mm²", "% of tissue")
    for item in result.classes:
        red, green, blue = item.colour
        name = f"[rgb({red},{green},{blue})]■[/] {item.name}"
        table.add_row(str(item.value), name, f"{item.area_mm2:.3f}", f"{100 * item.fraction:.1f}")
    return table
