"""`darefine train`: a network for phantom slides, from nothing to weights and card."""

import json
import shlex
import sys
from importlib.metadata import version
from pathlib import Path

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from model.card import ModelCard, NetworkConfig
from model.data.phantom_cohort import phantom_cohort
from model.phantom_recipe import phantom_recipe
from model.train import TrainProgress
from model.train import train as train_network


@click.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--steps", type=click.IntRange(min=1), default=1400, show_default=True, help="Optimiser steps.")
@click.option(
    "--fusion", type=click.Choice(["attention", "concat", "add"]), default="attention", show_default=True
)
@click.option(
    "--second-input", type=click.Choice(["dual", "multi-size", "single"]), default="dual", show_default=True
)
@click.option("--encoder-depth", type=click.Choice([18, 34, 50, 101, 152]), default=18, show_default=True)
@click.option(
    "--encoder-width",
    type=click.IntRange(min=4),
    default=16,
    show_default=True,
    help="64 is the ResNet of the paper.",
)
@click.option(
    "--decoder-width", type=click.IntRange(min=4), default=32, show_default=True, help="256 is the paper's."
)
@click.option(
    "--slides", type=click.IntRange(min=1), default=24, show_default=True, help="Phantom slides to train on."
)
@click.option(
    "--held-out",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Phantom slides to examine on.",
)
@click.option(
    "--size",
    "size_px",
    type=click.IntRange(min=6144),
    default=12_288,
    show_default=True,
    help="Side of a slide, level-0 pixels.",
)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("train-work"),
    show_default=True,
    help="Folder for slides and their cache (some GB).",
)
def train(
    out: Path,
    steps: int,
    slides: int,
    held_out: int,
    size_px: int,
    seed: int,
    device: str,
    work: Path,
    **network: str | int,
) -> None:
    """Train on phantom slides; write OUT.safetensors and OUT.json.

    A phantom model is for trying the software, not for tissue. Started again with the same arguments, an interrupted
    training goes on where it was.
    """
    config = NetworkConfig(context_depth=network["encoder_depth"], **network)  # type: ignore[arg-type]  # click checked them
    recipe = phantom_recipe(out.stem, config, steps=steps, seed=seed)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[facts]}"),
    ) as bar:
        making = bar.add_task("slides", facts="")
        cohort = phantom_cohort(
            work / "slides",
            train=slides,
            held_out=held_out,
            size_px=size_px,
            progress=lambda done, total: bar.update(making, completed=done, total=total),
        )
        bar.remove_task(making)
        task = bar.add_task("train", total=steps, facts="")

        def show(now: TrainProgress) -> None:
            bar.update(task, completed=now.step, total=now.steps, facts=f"loss {now.loss:.3f}")
            if now.validation is not None:
                bar.console.print(f"step {now.step}: held-out MIoU {now.validation.miou:.3f}")

        card = train_network(
            recipe,
            cohort,
            out.parent,
            cache=work / "cache",
            device=device,
            progress=show,
            provenance=provenance(),
        )
    report(card, out)


def provenance() -> dict[str, object]:
    """What was run, for the card."""
    return {"command": shlex.join(["darefine", *sys.argv[1:]]), "software": f"darefine {version('darefine')}"}


def report(card: ModelCard, out: Path) -> None:
    """Say what came out."""
    click.echo(json.dumps(card.metrics, indent=1))
    click.echo(f"{out}.safetensors and {out}.json; serve them with: darefine serve --weights {out}.json")
