"""Schemas of model cards. They are served as workers announced them, members not named here too."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from .parameter_schemas import JobParametersOut
from .schemas import PREFIX, example

CARD: dict[str, Any] = {
    "name": "phantom-resnet18-centred",
    "version": "1",
    "classes": [{"value": 1, "name": "normal", "colour": [0, 0, 0]}],
    "input": {"mpp": 0.934, "context_ratio": 20, "slices_per_side": 5, "halo_px": 64},
    "links": {
        "self": f"{PREFIX}/models/phantom-resnet18-centred",
        "jobs": f"{PREFIX}/jobs?model=phantom-resnet18-centred",
    },
}

CURVE = "curve"
"""Member of a card's `training`: the losses of every step, which only one card at a time shows."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class CardClass(_Part):
    """A class that the model tells apart."""

    value: int = Field(description="In the label map; 0 is not analysed.")
    name: str
    colour: tuple[int, int, int]


class CardInput(_Part):
    """What the model reads."""

    mpp: float = Field(description="Of slices, in micrometres per pixel.")
    context_ratio: int = Field(description="How much coarser the context is.")
    slices_per_side: int = Field(description="Slices along the side of a patch.")
    halo_px: int = Field(description="Overlap around each slice, in label pixels.")
    context: str | None = None
    window: str | None = Field(None, description="What the network labels at once.")
    context_margin_px: int | None = Field(
        None, description="Margin of the context around a patch, in label pixels; as the overlap if absent."
    )


class CardWeights(_Part):
    """The weights file."""

    file: str
    sha256: str
    dtype: str


class ModelCardOut(_Part):
    """A model card: classes, input, weights, how it was trained and how it scored."""

    model_config = example(CARD)
    model_config["extra"] = "allow"
    name: str
    version: str | None = None
    title: str | None = None
    description: str | None = None
    intended_use: str | None = None
    phantom: bool | None = Field(None, description="Whether it was trained on synthetic slides only.")
    classes: list[CardClass] = []
    input: CardInput
    network: dict[str, Any] | None = None
    weights: CardWeights | None = None
    training: dict[str, Any] | None = Field(
        None, description=f"Provenance. Its `{CURVE}`, the losses, is in `GET /v1/models/{{name}}` only."
    )
    metrics: dict[str, Any] | None = None
    licence: str | None = None
    links: dict[str, str] = Field(description="To itself and to the jobs that ran it.")


class ModelList(BaseModel):
    """The model cards that workers serve."""

    model_config = example({"default": CARD["name"], "models": [CARD]})
    default: str
    models: list[ModelCardOut]


class ModelRef(BaseModel):
    """The model a job would run with."""

    name: str
    version: str
    sha256: str = Field(description="Of its weights.")


class PreflightOut(BaseModel):
    """What a job with these options would run with."""

    model_config = example(
        {
            "model": {"name": "phantom-resnet18-centred", "version": "1", "sha256": "9354a9e9..."},
            "parameters": {
                "mpp": 0.25,
                "halo_px": None,
                "precision": None,
                "tissue": True,
                "priority": "normal",
            },
        }
    )
    model: ModelRef
    parameters: JobParametersOut = Field(description="As they will stand in the job, and `tissue_rules`.")


def card_out(card: Mapping[str, Any], *, whole: bool) -> dict[str, Any]:
    """Return a card with its links; without the curve of its losses unless `whole`."""
    shown = {**card, "links": model_links(card["name"])}
    training = card.get("training")
    if not whole and isinstance(training, Mapping) and CURVE in training:
        shown["training"] = {name: value for name, value in training.items() if name != CURVE}
    return shown


def model_links(name: str) -> dict[str, str]:
    """Return the links of a model: to its card, and to the jobs that ran it."""
    plain = quote(name, safe="")
    return {"self": f"{PREFIX}/models/{plain}", "jobs": f"{PREFIX}/jobs?model={plain}"}


def class_names(card: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the classes that a card states, as far as they can be read."""
    stated = card.get("classes")
    classes = stated if isinstance(stated, list) else ()
    names = (one.get("name") for one in classes if isinstance(one, Mapping))
    return tuple(name for name in names if isinstance(name, str))
