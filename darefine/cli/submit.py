"""Command `darefine submit`: send slides to a service and download the results."""

from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console

from darefine.client import JobOptions
from darefine.slide_files import SameNameError, result_names
from workers.jobs import OutputName
from wsi.geometry import WindowSpan

from .cohort import Cohort, Stop
from .connect import connected, url_option
from .outcome_lines import default_folder, follow, require_writable, shown, some_slides
from .where_options import tissue_on, where_options


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
    "--window",
    type=click.Choice(get_args(WindowSpan)),
    help="What the network labels at once; larger is faster and takes more memory  [default: the model's]",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    help="Number format [default: what the device is fast at].",
)
@where_options
@click.option("--priority", type=click.Choice(["normal", "high"]), default="normal", show_default=True)
@click.option(
    "--output", "outputs", type=click.Choice(get_args(OutputName)), multiple=True, help="Make this too."
)
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
    folder = out or default_folder(slides)
    found = some_slides(slides, recursive=recursive, leave_out=folder)
    options["tissue"] = tissue_on(found, options["tissue"])
    chosen: JobOptions = {name: value for name, value in options.items() if value not in (None, ())}  # type: ignore[assignment]
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
            outcomes = cohort.run(list(zip(found, names, strict=True)), at_once=at_once)
            code = follow(outcomes, folder, console, show, slides=len(found), as_json=as_json)
    click.get_current_context().exit(code)
