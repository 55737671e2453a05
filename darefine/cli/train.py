"""Command `darefine train`: train a network on slides with truth; write weights and card."""

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from model.card import ModelCard
from model.data.index import SlideIndex
from model.data.phantom import PHANTOM_CLASSES, prepare_phantoms
from model.data.slices import with_context
from model.errors import TrainingStoppedError
from model.inference.cpu_tuning import tune_malloc
from model.network.imagenet import load_imagenet
from model.network.zoo import NETWORKS, NamedNetwork
from model.training.config import TrainConfig
from model.training.forecast import StageCost
from model.training.from_scratch_recipe import PHANTOM_INPUT, SMALL, from_scratch_recipe, phantom_card
from model.training.images_recipe import TISSUE, images_card, images_recipe
from model.training.paper_recipe import BATCH, EPOCHS_PER_STAGE, paper_card, paper_recipe
from model.training.tensorboard import TrainBoard
from model.training.trainer import Start, TrainProgress
from model.training.trainer import train as train_network
from wsi.phantom import LATEST, Version

from .progress_bar import ShowProgress, progress_bar
from .stop_request import stop_request
from .train_forecast import forecast_text, remaining

PHANTOMS = {"train": 24, "validation": 2, "test": 0, "size_px": 12_288, "seed": 1}
"""Phantom slides that are made where no index is given."""

CONTEXTS = {"patch": "the patch around the slice", "centred": "the surroundings of the slice, centred on it,"}
"""Context by name, as it is called in a card."""

SEES = {
    "single": "It sees the slice alone, for comparison: what only the surroundings tell, it cannot know.",
    "multi-size": "It sees the slice at two sizes.",
    "dual": "It sees {context} as well.",
    "aligned": "It sees {context} and where in it the slice lies: input mode aligned, not the paper's.",
    "hooked": "It sees {context} at its bottleneck, cropped at the slice: input mode hooked, not the "
    "paper's.",
}
"""Sentence on the network's input in the card of a network trained from scratch, by input mode."""


@click.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--data",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Index made by `darefine prepare`.  [default: phantom slides, made in --work]",
)
@click.option(
    "--recipe",
    type=click.Choice(["paper", "from-scratch", "images", "phantom"]),
    help="paper: three stages of SGD, for encoders from ImageNet. from-scratch (formerly phantom): "
    "AdamW without such a start. images: the same for small images of `prepare images`.  "
    "[default: images for those, paper where slices are planned, else from-scratch]",
)
@click.option(
    "--network",
    type=click.Choice(["small", "tissue", *NETWORKS]),
    metavar="NAME",
    help="One of `darefine models`; small: ResNet-18, slim, for phantoms; tissue: twice as wide, one input.  "
    "[default: tissue for small images, else small]",
)
@click.option("--fusion", type=click.Choice(["attention", "concat", "add"]), help="Overrules the network's.")
@click.option(
    "--second-input",
    type=click.Choice(["dual", "aligned", "hooked", "multi-size", "single"]),
    help="Overrules the network's.",
)
@click.option(
    "--context",
    type=click.Choice(["patch", "centred"]),
    help="What a slice sees as context: its patch, as in the paper, or a window of that size centred on it.  "
    "[default: the network's]",
)
@click.option(
    "--coarse-context/--no-coarse-context",
    default=None,
    help="Whether the first block sees the whole context map, as in the paper. Overrules the network's.",
)
@click.option(
    "--decoder",
    type=click.Choice(["paper", "light"]),
    help="light: 1x1 convolutions in place of 3x3, under a quarter of the arithmetic with ResNet-50. "
    "Overrules the network's.",
)
@click.option(
    "--imagenet", metavar="SOURCE", help="Start of the encoders: .pth, .safetensors or hf-hub:NAME."
)
@click.option("--context-imagenet", metavar="SOURCE", help="The same for a context encoder of another depth.")
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Of the recipes from-scratch and images.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=EPOCHS_PER_STAGE,
    show_default=True,
    help="Of each of the paper recipe's three stages.",
)
@click.option(
    "--batch", type=click.IntRange(min=1), default=BATCH, show_default=True, help="Of the paper recipe."
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32", show_default=True)
@click.option(
    "--threads", type=click.IntRange(min=1), default=1, show_default=True, help="That read slides ahead."
)
@click.option("--log", type=click.Path(file_okay=False, path_type=Path), help="Folder for TensorBoard.")
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("train-work"),
    show_default=True,
    help="Folder for phantom slides (some GB).",
)
@click.option(
    "--phantom-version",
    type=click.IntRange(1, LATEST),
    default=LATEST,
    show_default=True,
    help="Of those slides: 2 makes them as the demo weights saw them; 1 is older, and further from tissue.",
)
@click.option("--overwrite", is_flag=True, help="Train anew where OUT.json is there.")
def train(out: Path, data: Path | None, log: Path | None, work: Path, overwrite: bool, **chosen: Any) -> None:
    """Train a network; write OUT.safetensors and OUT.json, which `darefine serve --weights OUT.json` serves.

    Started again with the same arguments, an interrupted training goes on where it was. Several GPUs:
    torchrun --nproc-per-node=N -m darefine train ...  Without --data it trains on phantom slides: a model for
    trying the software, not for tissue.
    """
    card_path = out.with_name(f"{out.stem}.json")
    unfinished = out.with_name(f"{out.stem}.state.safetensors").exists()
    if card_path.exists() and not (overwrite or unfinished):
        raise click.UsageError(
            f"{card_path} is there from a finished training. Name another OUT, or give --overwrite."
        )
    tune_malloc()
    with ExitStack() as stack:
        console, quiet = Console(), os.environ.get("RANK", "0") != "0"
        index = SlideIndex.load(data) if data else _phantoms(work, chosen["phantom_version"], console, quiet)
        show = stack.enter_context(progress_bar(console=console, disable=quiet))
        listeners: list[Callable[[TrainProgress], None]] = [_training_bar(show, console)]
        if log is not None:
            listeners.append(stack.enter_context(TrainBoard(log, index.classes)))
        option = "epochs" if _recipe(index, chosen) == "paper" else "steps"
        option = f"--{option} {chosen[option]}"
        try:
            card = train_network(
                _config(out.stem, index, chosen),
                index,
                out.parent,
                start=_start(chosen["imagenet"], chosen["context_imagenet"]),
                device=chosen["device"],
                threads=chosen["threads"],
                progress=partial(_tell, listeners),
                forecast=None if quiet else partial(_tell_forecast, console, option, unfinished),
                should_stop=stack.enter_context(stop_request()),
                provenance={"software": f"darefine {version('darefine')}", "options": chosen},
            )
        except TrainingStoppedError as error:
            raise TrainingStoppedError(f"{error}. Go on with:\n  {_this_command()}") from error
    if card is not None:
        _report(card, out)


def _tell_forecast(console: Console, steps_option: str, resume: bool, costs: Sequence[StageCost]) -> None:
    text = forecast_text(costs, steps_option=steps_option, resume=resume)
    if text:
        console.print(text, highlight=False)


def _this_command() -> str:
    """Return the command line that this process was started with, ready to be pasted."""
    command = shlex.join(["darefine", *sys.argv[1:]])
    processes = os.environ.get("LOCAL_WORLD_SIZE")
    if processes is None:
        return command
    return f"torchrun --nproc-per-node={processes} -m {command}"


def _tell(listeners: Sequence[Callable[[TrainProgress], None]], now: TrainProgress) -> None:
    for listener in listeners:
        listener(now)


OVERRULED = ("fusion", "second_input", "coarse_context", "decoder")
"""Options that replace a value of the named network."""

SLIM = {"small": NamedNetwork(SMALL), "tissue": NamedNetwork(TISSUE)}
"""Networks of the recipes without an ImageNet start, beside those of `darefine models`."""


def _config(name: str, index: SlideIndex, chosen: Mapping[str, Any]) -> TrainConfig:
    named = _network(index, chosen)
    overruled = {key: chosen[key] for key in OVERRULED if chosen[key] is not None}
    network, context = replace(named.config, **overruled), chosen["context"] or named.context
    recipe = _recipe(index, chosen)
    if recipe == "images":
        card = images_card(name, network, index)
        config = images_recipe(card, steps=chosen["steps"], seed=chosen["seed"])
    elif recipe != "paper":
        # What the model is for follows from the data, not from the recipe.
        draft = phantom_card(name, network, index.input) if index.source == "phantom" else None
        card = draft or paper_card(name, network, index)
        sees = SEES[network.second_input].format(context=CONTEXTS[context])
        card = replace(card, description=f"{card.description} {sees}")
        config = from_scratch_recipe(card, steps=chosen["steps"], seed=chosen["seed"])
    else:
        if not index.train:
            raise click.UsageError(
                "the paper recipe needs planned slices: `darefine prepare slides --slices 3000 500 4000`, "
                "or phantom --plan"
            )
        config = paper_recipe(
            paper_card(name, network, index),
            slices=len(index.train),
            imagenet=chosen["imagenet"] is not None,
            batch=chosen["batch"],
            epochs=chosen["epochs"],
            seed=chosen["seed"],
        )
    geometry = with_context(config.card.input, context)
    return replace(config, card=replace(config.card, input=geometry), precision=chosen["precision"])


def _recipe(index: SlideIndex, chosen: Mapping[str, Any]) -> str:
    if index.data_set is not None:
        fitting = "images"
    else:
        fitting = "paper" if index.source != "phantom" and index.train else "from-scratch"
    recipe: str = chosen["recipe"] or fitting
    return recipe


def _network(index: SlideIndex, chosen: Mapping[str, Any]) -> NamedNetwork:
    name = chosen["network"] or ("small" if index.data_set is None else "tissue")
    return SLIM.get(name) or NETWORKS[name]


def _start(imagenet: str | None, context_imagenet: str | None) -> Start | None:
    return (
        None if imagenet is None else partial(load_imagenet, source=imagenet, context_source=context_imagenet)
    )


def _phantoms(work: Path, version: Version, console: Console, quiet: bool) -> SlideIndex:
    """Make the phantom slides that are not there yet, with a bar that goes when they are."""
    work.mkdir(parents=True, exist_ok=True)
    with progress_bar(console=console, transient=True, disable=quiet) as show:
        prepared = prepare_phantoms(
            work,
            **PHANTOMS,
            version=version,
            progress=lambda name, share: show("phantom slides", share, facts=name),
        )
    return prepared.index("phantom", PHANTOM_CLASSES, PHANTOM_INPUT, {}, seed=PHANTOMS["seed"])


def _training_bar(show: ShowProgress, console: Console) -> Callable[[TrainProgress], None]:
    """Return a listener that shows steps on a bar and prints each validation score above it."""

    def tell(now: TrainProgress) -> None:
        facts = f"step {now.step}/{now.steps}, loss {now.loss:.3f}, {remaining(now.eta_s)}"
        show("train", now.step / now.steps, facts=facts)
        if now.validation is not None:
            console.print(f"step {now.step}: validation MIoU {now.validation.miou_of_truth:.3f}")

    return tell


def _report(card: ModelCard, out: Path) -> None:
    """Print the metrics, and how to serve the model."""
    click.echo(json.dumps(card.metrics, indent=1))
    click.echo(f"{out}.safetensors and {out}.json; serve them with: darefine serve --weights {out}.json")
