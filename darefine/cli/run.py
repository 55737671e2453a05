"""Command `darefine run`: label slides on this machine, without a service."""

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console

from darefine.local import LocalRun
from darefine.outcome import Outcome
from darefine.slide_files import SameNameError, result_names
from workers.errors import WorkersError
from workers.jobs import JobParameters, OutputName, Progress
from workers.settings import WorkerSettings
from wsi.errors import RegionsInvalidError
from wsi.geometry import WindowSpan
from wsi.log_setup import only_errors_of
from wsi.read_regions import read_regions
from wsi.slide_folders import FoundSlide

from .outcome_lines import default_folder, follow, require_writable, shown, some_slides
from .progress_bar import ShowProgress, progress_facts
from .where_options import tissue_on, where_options


class Shard(click.ParamType[tuple[int, int]]):
    """Which of how many equal parts of the slides: I/N, I from 0 to N - 1."""

    name = "I/N"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Read I/N."""
        part, _, parts = str(value).partition("/")
        if not (part.isdecimal() and parts.isdecimal() and int(part) < int(parts)):
            self.fail(f"{value!r} is not I/N with I from 0 to N - 1, such as 0/8.", param, ctx)
        return int(part), int(parts)


@click.command()
@click.argument(
    "slides", type=click.Path(exists=True, path_type=Path), nargs=-1, required=True, metavar="SLIDE..."
)
@click.option(
    "--model",
    help="Card, model folder, hf-hub:OWNER/NAME, or a name in DAREFINE_WEIGHTS_DIR [default: its first].",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the results [default: <slide>-darefine, or darefine-results for several].",
)
@click.option("-r", "--recursive", is_flag=True, help="Look for slides in the folders of folders too.")
@click.option("--shard", type=Shard(), help="Label only part I of N, such as a Slurm array's task.")
@click.option("--device", help="cpu, cuda, cuda:1 ... [default: DAREFINE_DEVICE, or what is there].")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of the network.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Slices in one pass of the network.")
@click.option(
    "--mpp",
    type=click.FloatRange(0.05, 5),
    help="Micrometres per pixel, if the slides do not say or are wrong.",
)
@click.option("--halo-px", type=click.IntRange(0, 256), help="Overlap around each slice, in label pixels.")
@click.option(
    "--window",
    type=click.Choice(get_args(WindowSpan)),
    help="What the network labels at once; larger is faster and takes more memory  [default: the model's]",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "fp16", "int8"]),
    help="Number format [default: what the device is fast at].",
)
@where_options
@click.option(
    "--output", "outputs", type=click.Choice(get_args(OutputName)), multiple=True, help="Make this too."
)
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each slide, nothing else.")
def run(
    *,
    slides: tuple[Path, ...],
    model: str | None,
    out: Path | None,
    recursive: bool,
    shard: tuple[int, int] | None,
    as_json: bool,
    outputs: tuple[str, ...],
    **chosen: Any,
) -> None:
    """Label slides on this machine, without a service: the same files, byte for byte, as from one.

    SLIDE is a file, a folder of slides, or a folder with DICOM files, which is one slide. Results are
    <slide>.<model>.overlay.tif, .labels.tif and .result.json. The same command again goes on where it ended,
    also in the middle of a slide. summary.csv has a line for every slide in --out.

    Exit code: 0 when all slides have their results, 1 when some failed, 130 after Ctrl-C.
    """
    folder = out or default_folder(slides)
    found = some_slides(slides, recursive=recursive, leave_out=folder)
    require_writable(folder)
    where = where_of(chosen.pop("regions"), tissue_on(found, chosen.pop("tissue")))
    same_name = {name: chosen.pop(name) for name in ("mpp", "halo_px", "window", "precision")}
    parameters = JobParameters(**same_name, outputs=tuple(sorted(set(outputs))), **where)
    console = Console(stderr=as_json, quiet=as_json, highlight=False)
    try:
        # What becomes of a slide is told here; of the engine's log only what nobody expected.
        with only_errors_of("workers"), shown(len(found), console) as show:
            job = LocalRun.of(settings_of(chosen), model, parameters, shows(show))
            outcomes, count = labelled(job, found, folder, shard)
            code = follow(outcomes, folder, console, show, slides=count, as_json=as_json)
    except SameNameError as error:
        raise click.UsageError(str(error)) from error
    except WorkersError as error:
        raise click.ClickException(str(error)) from error
    click.get_current_context().exit(code)


def where_of(regions: object, tissue: object) -> dict[str, Any]:
    """Return --regions and --tissue as they stand in a job's parameters.

    Raises:
        UsageError: they cannot be used.
    """
    searches = isinstance(tissue, bool)
    polygons = {"regions": regions, "tissue_outlines": None if searches else tissue}
    where: dict[str, Any] = {"tissue": searches and tissue}
    for name, value in polygons.items():
        try:
            where[name] = None if value is None else read_regions(value).to_json()
        except RegionsInvalidError as error:
            option = "--regions" if name == "regions" else "--tissue"
            raise click.UsageError(f"{option}: {error}") from error
    return where


def settings_of(chosen: dict[str, Any]) -> WorkerSettings:
    """Return a worker's settings from the environment, overruled by the chosen options that are not None."""
    overruled = {name: value for name, value in chosen.items() if value is not None}
    settings = WorkerSettings(**{"log_level": "ERROR", **overruled})
    return settings.model_copy(update={"device": settings.device_of(0)})


def labelled(
    job: LocalRun, found: tuple[FoundSlide, ...], folder: Path, shard: tuple[int, int] | None
) -> tuple[Generator[Outcome], int]:
    """Return the outcomes of the slides of this shard, and how many they are.

    Raises:
        SameNameError: two slides, of any shard, would have results of the same name.
    """
    names = result_names(found, job.card.name)
    pairs = [(slide.path, folder / name) for slide, name in zip(found, names, strict=True)]
    if shard is not None:
        part, parts = shard
        pairs = pairs[part::parts]
    return job.label(pairs), len(pairs)


def shows(show: ShowProgress) -> Callable[[Path, Progress], None]:
    """Return what moves the bar of a slide."""

    def tell(slide: Path, progress: Progress) -> None:
        over = progress.fraction >= 1
        label = f"{slide.name}  {progress.stage}"
        show(str(slide), progress.fraction, label=label, facts=progress_facts(progress), visible=not over)

    return tell
