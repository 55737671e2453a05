"""List the models that a service has."""

import json

import click

from darefine.client import ServedModel

from .connect import connected
from .listing import print_rows


def list_served(url: str, *, as_json: bool) -> None:
    """Print the models that workers of the service at `url` have: a table, or their cards as JSON.

    Raises:
        ClickException: when the service does not say.
    """
    with connected(url) as client:
        models = client.models()
    if as_json:
        click.echo(json.dumps(models.document(), indent=1))
    else:
        print_rows(
            ("model", "", "version", "um/px", "trained on", "weights", "classes"),
            (row_of(model, default=models.default) for model in models.models),
        )


def row_of(model: ServedModel, *, default: str) -> tuple[str, ...]:
    """Return the cells of one model; the default is marked."""
    return (
        model.name,
        "default" if model.name == default else "",
        model.version,
        f"{model.input.mpp:g}",
        trained_on(model),
        model.weights.sha256[:12],
        ", ".join(one.name for one in model.classes),
    )


def trained_on(model: ServedModel) -> str:
    """Return what a model is for, in two words."""
    return "phantoms only" if model.phantom else "tissue"
