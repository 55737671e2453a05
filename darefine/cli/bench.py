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
from workers.bench.bench import run_bench, time_models
from workers.bench.options import BenchOptions
from workers.errors import WorkersError
from workers.settings import WorkerSettings
from wsi.phantom import LATEST, Version, write_phantom

from .model_files import card_of
from .progress_bar import progress_bar

PHANTOM_PX = 12_288
PHANTOM_SEED = 11
COUNTED_PX = 50_000
"""Side of the slides in the figures of slides an hour, level-0 px."""
COUNTED_TISSUE = 0.3
"""Their tissue, in the figures of each model."""


Show = Callable[[str, float], None]
"""Told what is done and how far it is, 0..1."""


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
    help="Card, model folder, hf-hub:OWNER/NAME, or a name in DAREFINE_WEIGHTS_DIR  [default: its first].",
)
@click.option("--device", help="cpu, cuda, cuda:1 ...  [default: DAREFINE_DEVICE, or what is there]")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16", "int8"]))
@click.option(
    "--backend", type=click.Choice(["auto", "torch", "openvino"]), help="What computes the network."
)
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
    model: str | None,
    repeats: int,
    work: Path | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Measure whole jobs, the network alone, and everything but the network, in a real model process.

    Then one job of each model that is served, or of --model alone, on a phantom with 30 % tissue: slides an
    hour. All of it runs on this machine, without a service. Stop other work first: whatever else runs is in
    the figures.
    """
    try:
        card = card_of(WorkerSettings(), model) if model else None
        settings = settings_of(card, chosen)
        with tempfile.TemporaryDirectory(dir=work, prefix="darefine-bench-") as name, progress_bar() as show:
            folder = Path(name)
            options = BenchOptions(slide or make_phantom(folder, size_px, show), mpp=mpp, repeats=repeats)
            measured = run_bench(options, settings, folder, report=lambda now: show("measure", now.fraction))
            measured["asked"] = {"backend": settings.backend, "precision": settings.precision}
            measured["models"] = models_of(measured, card, size_px, settings, folder, show)
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


def make_phantom(
    folder: Path, size_px: int, show: Show, *, tissue: float = 0.7, version: Version = LATEST
) -> Path:
    """Write a phantom slide, if it is not there, and return its path; `tissue` is the share of tissue."""
    path = folder / f"phantom-v{version}-{size_px}-{tissue}.tif"
    if not path.exists():
        write_phantom(
            path,
            size_px=size_px,
            seed=PHANTOM_SEED,
            version=version,
            tissue_fraction=tissue,
            progress=lambda share: show("phantom slide", share),
        )
    return path


def models_of(
    measured: dict[str, Any],
    card: Path | None,
    size_px: int,
    settings: WorkerSettings,
    folder: Path,
    show: Show,
) -> list[dict[str, Any]]:
    """Time a job of the measured model, and without `card` of all others that are served.

    Returns the rows of `time_models`, with `slides_per_hour`: of COUNTED_PX square with COUNTED_TISSUE.
    """
    first = measured["model"]["name"]
    served = (
        [] if card else [ModelCard.load(path).name for path in sorted(settings.weights_dir.glob("*.json"))]
    )
    slide = make_phantom(folder, size_px, show, tissue=COUNTED_TISSUE)
    rows = time_models(
        slide,
        [first, *(name for name in served if name != first)],
        settings,
        folder / "models",
        report=lambda model, now: show(model, now.fraction),
    )
    return [
        row
        if "error" in row
        else {**row, "slides_per_hour": round(3600 / (row["seconds"] * COUNTED_PX**2 / row["pixels"]), 1)}
        for row in rows
    ]


def slides_per_hour(measured: dict[str, Any]) -> dict[str, Any]:
    """Return how many square slides of COUNTED_PX an hour the measured speed gives.

    They have the mpp and the share of tissue of the measured slide.
    """
    pixels = measured["slide"]["width"] * measured["slide"]["height"]
    seconds = measured["job"]["seconds"] * COUNTED_PX**2 / pixels
    return {"size_px": COUNTED_PX, "slides": round(3600 / seconds, 1)}


def tables_of(measured: dict[str, Any]) -> tuple[str, Table, Table, Table]:
    """Return text and tables for a terminal: the setting, speeds, stages of a job, slides an hour."""
    return setting_of(measured), speeds_of(measured), stages_of(measured), hourly_of(measured["models"])


def setting_of(measured: dict[str, Any]) -> str:
    """Return in words what was measured on what, and what `auto` chose."""
    slide, busy, asked, machine = (measured[key] for key in ("slide", "load_before", "asked", "machine"))
    by_auto = ", chosen by auto" if "auto" in asked.values() else ""
    features = ", ".join(machine["cpu_features"]) or machine["cpu_capability"]
    return (
        f"{measured['model']['name']} on {measured['device']}, {measured['dtype']} in {measured['backend']}"
        f"{by_auto}; {measured['threads']} threads, batches of {measured['batch_size']}; "
        f"{slide['name']}, {slide['width']} x {slide['height']} px "
        f"of {slide['mpp']:.3g} um; median of {measured['repeats']}"
        + (f"; load average before: {busy:.1f}" if busy is not None else "")
        + f". The CPU, {machine['processor']}, has {features}."
    )


def speeds_of(measured: dict[str, Any]) -> Table:
    """Return the table of speeds."""
    hourly = measured["slides_per_hour"]
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
    return speeds


def stages_of(measured: dict[str, Any]) -> Table:
    """Return the table of a job's stages, and of memory."""
    stages = Table("stage", Column("seconds", justify="right"))
    for stage, seconds in measured["job"]["stage_seconds"].items():
        stages.add_row(stage, f"{seconds:.2f}")
    for title, size in measured["memory_mb"].items():
        if size is not None:
            stages.add_row(f"memory, {title.replace('_', ' ')}", f"{size} MB")
    return stages


def hourly_of(rows: list[dict[str, Any]]) -> Table:
    """Return the table of slides an hour by model."""
    title = f"slides an hour: {COUNTED_PX} px square, {COUNTED_TISSUE:.0%} tissue"
    table = Table("model", "computed in", Column(title, justify="right"))
    for row in rows:
        if "error" in row:
            table.add_row(row["model"], row["error"], "-")
        else:
            table.add_row(row["model"], f"{row['backend']}, {row['dtype']}", f"{row['slides_per_hour']:g}")
    return table
