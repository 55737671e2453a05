"""`darefine train`: a network for phantom slides, from nothing to weights and card."""

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from model.card import ModelCard, NetworkConfig
from model.data.cohort import Cohort
from model.data.phantom_cohort import phantom_cohort
from model.phantom_recipe import phantom_recipe
from model.train import TrainProgress
from model.train import train as train_network

DEPTHS = click.Choice([18, 34, 50, 101, 152])
WIDTH = click.IntRange(min=8)


@click.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--steps", type=click.IntRange(min=1), default=720, show_default=True, help="Optimiser steps.")
@click.option(
    "--fusion", type=click.Choice(["attention", "concat", "add"]), default="attention", show_default=True
)
@click.option(
    "--second-input", type=click.Choice(["dual", "multi-size", "single"]), default="dual", show_default=True
)
@click.option(
    "--encoder-depth", type=DEPTHS, default=18, show_default=True, help="Of the slice encoder's ResNet."
)
@click.option("--context-depth", type=DEPTHS, default=18, show_default=True, help="Of the context encoder's.")
@click.option(
    "--encoder-width",
    type=WIDTH,
    default=16,
    show_default=True,
    help="Multiple of 8; 64 is the paper's ResNet.",
)
@click.option(
    "--decoder-width", type=WIDTH, default=32, show_default=True, help="Multiple of 8; 256 is the paper's."
)
@click.option(
    "--slides", type=click.IntRange(min=1), default=24, show_default=True, help="Slides to train on."
)
@click.option(
    "--held-out", type=click.IntRange(min=1), default=2, show_default=True, help="Slides to examine on."
)
@click.option(
    "--size",
    "size_px",
    type=click.IntRange(min=6144),
    default=12_288,
    show_default=True,
    help="Side of a slide to train on, level-0 pixels.",
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("train-work"),
    show_default=True,
    help="Folder for slides and their cache (some GB).",
)
def train(out: Path, steps: int, seed: int, device: str, work: Path, **chosen: Any) -> None:
    """Train on phantom slides; write OUT.safetensors and OUT.json.

    A phantom model is for trying the software, not for tissue. Started again with the same arguments, an interrupted
    training goes on where it was.
    """
    made = {name: chosen.pop(name) for name in ("slides", "held_out", "size_px")}
    recipe = phantom_recipe(out.stem, NetworkConfig(**chosen), steps=steps, seed=seed)
    options = {"steps": steps, "seed": seed, **made, **chosen}
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[facts]}"),
    ) as bar:
        cohort = make_cohort(bar, work / "slides", **made)
        card = train_network(
            recipe,
            cohort,
            out.parent,
            cache=work / "cache",
            device=device,
            progress=training_bar(bar, steps),
            provenance={"software": f"darefine {version('darefine')}", "options": options},
        )
    report(card, out)


def make_cohort(bar: Progress, folder: Path, *, slides: int, held_out: int, size_px: int) -> Cohort:
    """Make the slides, with a bar that goes when they are there."""
    task = bar.add_task("slides", facts="")
    cohort = phantom_cohort(
        folder,
        train=slides,
        held_out=held_out,
        size_px=size_px,
        progress=lambda done, total: bar.update(task, completed=done, total=total),
    )
    bar.remove_task(task)
    return cohort


def training_bar(bar: Progress, steps: int) -> Callable[[TrainProgress], None]:
    """A bar of the steps; each look at the held-out slides is a line above it."""
    task = bar.add_task("train", total=steps, facts="")

    def show(now: TrainProgress) -> None:
        bar.update(task, completed=now.step, total=now.steps, facts=f"loss {now.loss:.3f}")
        if now.validation is not None:
            bar.console.print(f"step {now.step}: held-out MIoU {now.validation.miou:.3f}")

    return show


def report(card: ModelCard, out: Path) -> None:
    """Say what came out."""
    click.echo(json.dumps(card.metrics, indent=1))
    click.echo(f"{out}.safetensors and {out}.json; serve them with: darefine serve --weights {out}.json")
