"""Commands `darefine models check` and `export`: try a model, and write it for others."""

import time
from pathlib import Path

import click
import numpy as np

from darefine.local import find_card
from model.card import ModelCard
from model.model_folder import CONFIG_FILE, is_model_folder, write_model_folder
from workers.errors import ModelUnknownError
from workers.settings import WorkerSettings
from wsi.geometry import Size
from wsi.grid import make_grid

from .listing import print_rows

NOMINAL_SIZE = Size(100_000, 100_000)

model_argument = click.argument("model", required=False)


@click.command()
@model_argument
def check(model: str | None) -> None:
    """Load MODEL and label one square of noise: say what it reads and what is wrong with it.

    MODEL is a model card, a model folder, hf-hub:OWNER/NAME, or a name in DAREFINE_WEIGHTS_DIR; by default
    what would be served.
    """
    # torch takes a second to load
    from workers.engine.model_cache import ModelCache  # noqa: PLC0415

    settings = WorkerSettings()
    settings = settings.model_copy(update={"device": settings.device_of(0)})
    path = card_of(settings, model)
    card = ModelCard.load(path)
    segmenter = ModelCache({card.name: (path, card)}, settings).get(card.name)
    view = make_grid(NOMINAL_SIZE, card.input.mpp, card.input).patch_view(0, ((0, 0),))
    noise = np.random.default_rng(0)
    region = noise.integers(0, 256, (view.region.height, view.region.width, 3), np.uint8)
    field = noise.integers(0, 256, (view.context_network_px,) * 2 + (3,), np.uint8)
    start = time.perf_counter()
    segmenter.label_patch(region, view, context=field if view.context_windows else None)
    seconds = time.perf_counter() - start
    facts = [
        ("card", str(path)),
        ("computes in", f"{segmenter.backend}, {segmenter.dtype} on {segmenter.device}"),
        ("windows", f"{view.slice_network_px} px at {card.input.mpp:g} um/px"),
        ("context", context_words(card, view.context_network_px)),
        ("classes", ", ".join(label.name for label in card.classes)),
        ("gives", "labels and probabilities" if card.gives_probabilities else "labels alone"),
        ("licence", card.licence or "not stated"),
        ("one window", f"{seconds:.2f} s, with what is done once"),
    ]
    print_rows(("model", f"{card.name}, version {card.version}"), facts)


def context_words(card: ModelCard, side_px: int) -> str:
    """Return what a model sees around its windows."""
    if not card.network.sees_patch:
        return "none"
    scale = card.input.mpp * card.input.context_ratio
    return f"{card.input.context}, {side_px} px at {scale:g} um/px"


@click.command()
@model_argument
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder to write; README.md, config.json and the weights.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["safetensors", "onnx"]),
    help="Weights as they are, or an ONNX file for other programs [default: as they are].",
)
def export(model: str | None, out: Path, form: str | None) -> None:
    """Write MODEL as a folder in the Hugging Face manner, which is served as it is.

    MODEL is what `darefine models check` takes. With --format onnx the network is written for ONNX Runtime
    and others, opset 18, float32; the README in the folder says what it takes.
    """
    path = card_of(WorkerSettings(), model)
    if out.resolve() == path.parent.resolve():
        raise click.UsageError(f"{out} is the model's own folder; name another.")
    if out.exists() and any(out.iterdir()) and not is_model_folder(out):
        raise click.UsageError(f"{out} holds other files; name a new folder, or one of an earlier export.")
    if form == "onnx":
        from model.inference.onnx_export import export_onnx_folder  # noqa: PLC0415  (as above)

        card = export_onnx_folder(path, out)
    else:
        card = write_model_folder(path, out)
    if not card.licence:
        click.echo("No licence is stated: set `licence` in the card before you publish this.", err=True)
    click.echo(f"{out}: README.md, {CONFIG_FILE}, {card.weights.file}")


def card_of(settings: WorkerSettings, model: str | None) -> Path:
    """Return the path of the card that MODEL names.

    Raises:
        ClickException: it names none.
    """
    try:
        return find_card(settings, model)
    except ModelUnknownError as error:
        raise click.ClickException(str(error)) from error
