"""Command `darefine bench`: measure what this machine reaches with a model."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Column, Table

from model.card import ModelCard
from model.errors import ModelError
from workers.bench.bench import run_bench
from workers.bench.options import BenchOptions
from workers.errors import WorkersError
from workers.settings import WorkerSettings
from wsi.phantom import write_phantom

from .progress_bar import progress_bar

PHANTOM_PX = 12_288
PHANTOM_SEED = 11
COUNTED_PX = 50_000
"""Side of the slides in the figure of slides an hour, level-0 px."""


@click.command()
@click.option(
    "--slide",
    type=click.Path(exists=True, path_type=Path),
    help="Slide to measure on.  [default: a phantom slide in a temporary folder]",
)
@click.option(
    "--size",
    "size_px",
    type=click.IntRange(min=1024),
    default=PHANTOM_PX,
    show_default=True,
    help="Side of the phantom, level-0 pixels.",
)
@click.option("--mpp", type=float, help="Micrometres per level-0 pixel.  [default: what the slide says]")
@click.option(
    "--model",
    "card",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Model card.  [default: the service's default model]",
)
@click.option("--device", help="cpu, cuda, cuda:1 ...  [default: DAREFINE_DEVICE, or what is there]")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]))
@click.option("--batch-size", type=click.IntRange(min=1), help="Slices in one pass of the network.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of the network.")
@click.option(
    "--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="The median counts."
)
@click.option(
    "--work",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder for the jobs' files.  [default: a temporary one]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; its keys are in benchmarks/README.md.")
def bench(
    slide: Path | None,
    size_px: int,
    mpp: float | None,
    card: Path | None,
    repeats: int,
    work: Path | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Measure whole jobs, the network alone, and everything but the network, in a real model process.

    All of it runs on this machine, without a service. Stop other work first: whatever else runs is in the
    figures.
    """
    try:
        settings = settings_of(card, chosen)
        with tempfile.TemporaryDirectory(dir=work, prefix="darefine-bench-") as name, progress_bar() as show:
            folder = Path(name)
            options = BenchOptions(slide or make_phantom(folder, size_px, show), mpp=mpp, repeats=repeats)
            measured = run_bench(options, settings, folder, report=lambda now: show("measure", now.fraction))
    except (WorkersError, ModelError) as error:
        raise click.ClickException(str(error)) from error
    measured = {**measured, "slides_per_hour": slides_per_hour(measured)}
    if as_json:
        click.echo(json.dumps(measured, indent=1))
    else:
        Console().print(*tables_of(measured), sep="\n")


def settings_of(card: Path | None, chosen: dict[str, Any]) -> WorkerSettings:
    """Return a worker's settings from the environment, overruled by the chosen options.

    Args:
        card: the default model; None keeps the environment's.
        chosen: settings by name; None stands for not chosen.

    Raises:
        CardError: when `card` is no model card.
    """
    overruled = {name: value for name, value in chosen.items() if value is not None}
    if card is not None:
        overruled |= {"weights_dir": card.resolve().parent, "default_model": ModelCard.load(card).name}
    settings = WorkerSettings(**{"log_level": "WARNING", **overruled})
    return settings.model_copy(update={"device": settings.device_of(0)})


def make_phantom(folder: Path, size_px: int, show: Callable[[str, float], None]) -> Path:
    """Write a phantom slide with 70 % tissue and return its path."""
    out = folder / f"phantom-{size_px}.tif"
    return write_phantom(
        out, size_px=size_px, seed=PHANTOM_SEED, progress=lambda share: show("phantom slide", share)
    ).slide


def slides_per_hour(measured: dict[str, Any]) -> dict[str, Any]:
    """Return how many square slides of COUNTED_PX an hour the measured speed gives.

    They have the mpp and the share of tissue of the measured slide.
    """
    pixels = measured["slide"]["width"] * measured["slide"]["height"]
    seconds = measured["job"]["seconds"] * COUNTED_PX**2 / pixels
    return {"size_px": COUNTED_PX, "slides": round(3600 / seconds, 1)}


def tables_of(measured: dict[str, Any]) -> tuple[str, Table, Table]:
    """Return text and tables for a terminal: the setting, the speeds, and the stages of a job."""
    slide, memory, hourly = measured["slide"], measured["memory_mb"], measured["slides_per_hour"]
    busy = measured["load_before"]
    text = (
        f"{measured['model']['name']} on {measured['device']}, {measured['dtype']}, "
        f"{measured['threads']} threads, batches of {measured['batch_size']}; "
        f"{slide['name']}, {slide['width']} x {slide['height']} px "
        f"of {slide['mpp']:.3g} um; median of {measured['repeats']}"
        + (f"; load average before: {busy:.1f}" if busy is not None else "")
    )
    speeds = Table("", Column("seconds", justify="right"), Column("MP/s", justify="right"))
    for key, title in (
        ("job", "whole job"),
        ("network_alone", "network alone, batches in memory"),
        ("stand_in", "job with a network that costs nothing"),
    ):
        speeds.add_row(
            title, f"{measured[key]['seconds']:.2f}", f"{measured[key]['megapixels_per_second']:.1f}"
        )
    speeds.add_row("whole job / network alone", "", f"{measured['job_to_network']:.1%}")
    speeds.add_row(f"slides of {hourly['size_px']} px square an hour", "", f"{hourly['slides']:g}")
    stages = Table("stage", Column("seconds", justify="right"))
    for stage, seconds in measured["job"]["stage_seconds"].items():
        stages.add_row(stage, f"{seconds:.2f}")
    for title, size in memory.items():
        if size is not None:
            stages.add_row(f"memory, {title.replace('_', ' ')}", f"{size} MB")
    return text, speeds, stages
