"""Write and find models as folders in the Hugging Face manner: README.md, config.json and the weights.

`config.json` is the model card, so that such a folder is served as it is. No torch is imported.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from wsi.atomic import write_atomically

from .card import ModelCard
from .errors import CardError
from .hub import HUB_PREFIX, hub_file
from .onnx_graph import OnnxGraph

CONFIG_FILE = "config.json"
"""Name of the model card in a model folder."""

WEIGHTS_FILE = "model.safetensors"
"""Name that the hub expects of weights; those of an ONNX file end in .onnx."""

LIBRARY = "darefine"

SCORES = {"miou": "mean_iou", "accuracy": "accuracy"}
"""Names of a card's metrics on the hub, by ours."""


def locate_card(source: str) -> Path | None:
    """Return the path of the card that `source` names, None if it names none.

    It is a card, a folder with a `config.json`, or "hf-hub:owner/name", with "@revision" if need be, whose
    card and weights are fetched or taken from the hub's cache.

    Raises:
        CardError: What the hub has is no card of ours.
        WeightsError: The hub does not have it, or huggingface_hub is not installed.
    """
    if source.startswith(HUB_PREFIX):
        return _from_hub(source.removeprefix(HUB_PREFIX))
    path = Path(source)
    if path.is_dir():
        path = path / CONFIG_FILE
    return path if path.is_file() else None


def _from_hub(repository: str) -> Path:
    card = hub_file(repository, CONFIG_FILE)
    # The cache keeps a folder for each commit: both files are of the same, whatever is pushed meanwhile.
    name, _, _ = repository.partition("@")
    weights = ModelCard.load(card).weights.file
    return hub_file(f"{name}@{card.parent.name}", weights).with_name(CONFIG_FILE)


def is_model_folder(folder: Path) -> bool:
    """Return whether a folder has a `config.json` that is a model card of ours."""
    try:
        ModelCard.load(folder / CONFIG_FILE)
    except CardError:
        return False
    return True


def write_model_folder(card_path: Path, out: Path) -> ModelCard:
    """Write the model of a card as a folder that can be pushed to the hub, and served; return its card.

    Raises:
        CardError: The card cannot be read.
        OSError: The weights are not there, or the folder cannot be written.
    """
    card = ModelCard.load(card_path)
    suffix = Path(card.weights.file).suffix
    weights = replace(card.weights, file=str(Path(WEIGHTS_FILE).with_suffix(suffix)))
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(card_path.with_name(card.weights.file), out / weights.file)
    return finish_model_folder(replace(card, weights=weights), out)


def finish_model_folder(card: ModelCard, out: Path) -> ModelCard:
    """Write README.md and config.json beside weights that lie in `out` already; return the card.

    Weights that an earlier export in the other form left are removed.
    """
    for form in (".safetensors", ".onnx"):
        weights = out / Path(WEIGHTS_FILE).with_suffix(form)
        if weights.name != card.weights.file:
            weights.unlink(missing_ok=True)
    write_atomically(out / "README.md", readme_of(card).encode())
    card.save(out / CONFIG_FILE)
    return card


def readme_of(card: ModelCard) -> str:
    """Return the model card for people: YAML for the hub, then words."""
    classes = "\n".join(
        f"| {label.value} | {label.name} | `#{bytes(label.colour).hex()}` |" for label in card.classes
    )
    told = [str(text) for key in ("attribution", "remarks") if (text := _data_set(card).get(key))]
    data = "\n## Data\n\n" + "\n\n".join(told) + "\n" if told else ""
    phantom = (
        "\n**Trained on synthetic phantom slides: it means nothing on tissue.**\n" if card.phantom else ""
    )
    context = " and their surroundings" if card.network.sees_patch else ""
    return f"""{_front_matter(card)}
# {card.title or card.name}

{card.description}
{phantom}
## Intended use

{card.intended_use}

For research; not a medical device. Licence: {card.licence or "not stated"}.

## Input and classes

RGB squares of a slide at {card.input.mpp:g} µm/px{context}. Labels are 0 where nothing was analysed, and

| value | class | colour |
|---|---|---|
{classes}
{_graph(card)}{_score_table(card)}{data}
## Use

```
darefine run SLIDE --model hf-hub:OWNER/NAME
darefine serve --weights hf-hub:OWNER/NAME
```

A copy of this folder on disk does as well: give its path. `{CONFIG_FILE}` is the model card; it holds the
sha256 of `{card.weights.file}`, which is checked.
"""


def _score_table(card: ModelCard) -> str:
    """Return the scores in a section of their own; nothing where the card has none."""
    scores = _scores(card)
    if not scores:
        return ""
    rows = "\n".join(f"| {SCORES[name]} | {value:.3f} |" for name, value in scores.items())
    return f"\n## Scores\n\n{_measured_on(card)}\n\n| | |\n|---|---|\n{rows}\n"


def _graph(card: ModelCard) -> str:
    """Return what the graph of an ONNX file takes, in words; nothing for other weights."""
    if card.network.architecture != "onnx":
        return ""
    graph, means, stds = card.onnx or OnnxGraph(), card.normalisation.mean, card.normalisation.std
    plain = not any(means) and set(stds) == {1.0}
    scaled = "as they are" if plain else f"minus {list(means)}, divided by {list(stds)} (red, green, blue)"
    around = (
        f" It also takes the context, {card.input.context_ratio} times as coarse, in the same way; "
        "docs/onnx.md of darefine says how to cut it."
        if card.network.sees_patch
        else ""
    )
    return f"""
## The graph

`{card.weights.file}` takes {graph.layout} images in {graph.channels} order, values {graph.values}, {scaled},
and gives {graph.output}, with classes in the order of the table.{around}
"""


def _front_matter(card: ModelCard) -> str:
    """Return the YAML block of a README; JSON's strings, lists and objects are YAML."""
    scores = _scores(card)
    members: dict[str, Any] = {
        **({"license": card.licence.lower()} if card.licence else {}),
        "library_name": LIBRARY,
        "pipeline_tag": "image-segmentation",
        "tags": [
            "histopathology",
            "whole-slide-imaging",
            "image-segmentation",
            *(["onnx"] if card.network.architecture == "onnx" else []),
        ],
        **(
            {"metrics": [SCORES[name] for name in scores], "model-index": _index(card, scores)}
            if scores
            else {}
        ),
    }
    lines = (f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in members.items())
    return "\n".join(["---", *lines, "---", ""])


def _scores(card: ModelCard) -> dict[str, float]:
    found = {name: card.metrics.get(name) for name in SCORES}
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


def _data_set(card: ModelCard) -> Mapping[str, Any]:
    """Return what training wrote of a published data set; empty for other slides."""
    found = card.training.get("data_set")
    return found if isinstance(found, Mapping) else {}


def _measured_on(card: ModelCard) -> str:
    return f"On {card.metrics.get('on', 'slides that the card does not name')}."


def _index(card: ModelCard, scores: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the scores as the hub's `model-index`."""
    name = _data_set(card).get("name") or card.training.get("source") or "own slides"
    dataset = {"name": str(name), "type": "own"}
    metrics = [{"type": SCORES[key], "value": round(value, 4)} for key, value in scores.items()]
    task = {"type": "image-segmentation"}
    return [{"name": card.name, "results": [{"task": task, "dataset": dataset, "metrics": metrics}]}]
