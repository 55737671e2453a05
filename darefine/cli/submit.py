"""Command `darefine submit`: send slides to a service and download the results."""

import contextlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from darefine.client import JobOptions, Result

from .cohort import Cohort, End, Outcome, Stop
from .cohort_record import beside
from .connect import connected, url_option
from .progress_bar import ShowProgress, progress_bar
from .slide_files import FoundSlide, SameNameError, find_slides, result_names
from .summary import in_short, write_summary

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


@click.command()
@click.argument(
    "slides", type=click.Path(exists=True, path_type=Path), nargs=-1, required=True, metavar="SLIDE..."
)
@url_option
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the results [default: <slide>-darefine, or darefine-results for several].",
)
@click.option("-r", "--recursive", is_flag=True, help="Look for slides in the folders of folders too.")
@click.option(
    "--jobs",
    "at_once",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="Slides that are sent, run or fetched at the same time.",
)
@click.option("--in-place", is_flag=True, help="The service reads slides where they lie; nothing is sent.")
@click.option("--model", help="Model to use [default: the service's].")
@click.option("--mpp", type=float, help="Micrometres per pixel, if the slides do not say or are wrong.")
@click.option("--halo-px", type=int, help="Overlap around each slice, in label pixels.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    help="Number format [default: what the device is fast at].",
)
@click.option("--tissue/--no-tissue", default=True, help="Leave glass out, or label every pixel.")
@click.option("--priority", type=click.Choice(["normal", "high"]), default="normal", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each slide, nothing else.")
def submit(
    slides: tuple[Path, ...],
    url: str,
    out: Path | None,
    recursive: bool,
    at_once: int,
    in_place: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Send slides, wait, download <slide>.<model>.overlay.tif, .labels.tif and .result.json.

    SLIDE is a file, a folder of slides, or a folder with DICOM files, which is one slide. The same command
    again goes on where it ended: slides are left out whose results lie in --out already, made of the same
    slide, weights and parameters. summary.csv there has a line for every slide.

    Ctrl-C cancels the jobs that are not over. Exit code: 0 when all slides have their results, 1 when some
    failed, 130 after Ctrl-C.
    """
    chosen: JobOptions = {name: value for name, value in options.items() if value is not None}  # type: ignore[assignment]
    folder = out or default_folder(slides)
    found = find_slides(slides, recursive=recursive, leave_out=folder)
    if not found:
        raise click.UsageError(f"No slide in {slides[0]}. With --recursive its folders are searched too.")
    require_writable(folder)
    console = Console(stderr=as_json, quiet=as_json, highlight=False)
    stop = Stop()
    with connected(url, sleep=stop.sleep) as client:
        preflight = client.preflight(**chosen)
        try:
            names = result_names(found, preflight.model.name)
        except SameNameError as error:
            raise click.UsageError(str(error)) from error
        with shown(len(found), console) as show:
            cohort = Cohort(client, folder, preflight, chosen, in_place, show, stop)
            pairs = list(zip(found, names, strict=True))
            code = follow(cohort, pairs, at_once, console, as_json=as_json)
    click.get_current_context().exit(code)


def default_folder(slides: Sequence[Path]) -> Path:
    """Return the folder for the results when none is named."""
    alone = slides[0].resolve()
    return Path(f"{alone.stem}-darefine") if len(slides) == 1 else Path("darefine-results")


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
    cohort: Cohort,
    slides: Sequence[tuple[FoundSlide, Path]],
    at_once: int,
    console: Console,
    *,
    as_json: bool,
) -> int:
    """Run the slides, tell each outcome, write the summary, return the exit code."""
    ends: list[End] = []
    code = 0
    try:
        with contextlib.closing(cohort.run(slides, at_once=at_once)) as outcomes:
            for outcome in outcomes:
                ends.append(outcome.end)
                if len(slides) > 1:
                    cohort.show("all", len(ends) / len(slides), facts=f"{len(ends)}/{len(slides)} slides")
                tell(outcome, console, alone=len(slides) == 1, as_json=as_json)
        code = int(End.FAILED in ends)
    except KeyboardInterrupt:
        click.echo("Interrupted; the same command goes on with the slides that have no result.", err=True)
        code = INTERRUPTED
    summary = write_summary(cohort.folder)
    if len(slides) > 1:
        counts = ", ".join(f"{ends.count(end)} {end}" for end in End if end in ends)
        console.print(f"{len(slides)} slides: {counts or 'none done'}. {summary}", soft_wrap=True)
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
    console.print(f"pixel size {result.mpp.slide:g} um ({result.mpp.source}); --mpp overrules it{warnings}")
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
