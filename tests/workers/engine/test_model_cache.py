"""The weights folder and what is loaded from it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.card import CardWeights, ModelCard, NetworkConfig, Normalisation
from model.errors import DeviceError
from model.network.build import build_network
from model.weights import save_weights
from tests.model.inference.onnx_graphs import brightest_channel, write_card
from workers.engine.model_cache import ModelCache
from workers.errors import ModelUnknownError, WeightsMissingError
from workers.settings import WorkerSettings
from wsi.grid import InputGeometry
from wsi.palette import LabelClass

THREE = tuple(LabelClass(value, f"class {value}", (value, 0, 0)) for value in (1, 2, 3))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models `one` and `two`, the same tiny random network, and a file that is no card."""
    folder = tmp_path_factory.mktemp("weights")
    config = NetworkConfig(encoder_depth=18, context_depth=18, encoder_width=8, decoder_width=8)
    torch.manual_seed(0)
    sha256 = save_weights(build_network(config, 1), folder / "tiny.safetensors")
    for name in ("two", "one"):
        ModelCard(
            name=name,
            version="1",
            title="Random weights",
            description="Random weights for tests.",
            intended_use="Tests.",
            phantom=True,
            classes=(LabelClass(1, "tissue", (255, 0, 0)),),
            input=InputGeometry(mpp=0.934, context_ratio=5, slices_per_side=5, halo_px=16),
            normalisation=Normalisation((0.7, 0.5, 0.7), (0.2, 0.2, 0.2)),
            network=config,
            weights=CardWeights("tiny.safetensors", sha256, "float16"),
        ).save(folder / f"{name}.json")
    (folder / "another.json").write_text("{}")
    return folder


def models_of(weights: Path, **changes: object) -> ModelCache:
    """A model cache on the CPU."""
    return ModelCache.of(WorkerSettings(weights_dir=weights, device="cpu", **changes))


def test_the_first_usable_card_is_the_default_and_all_are_announced(weights: Path) -> None:
    ready = models_of(weights).ready()
    assert (ready.default_model, ready.device) == ("one", "cpu")
    assert [json.loads(card)["name"] for card in ready.cards] == ["one", "two"]


def test_settings_choose_the_default(weights: Path) -> None:
    assert models_of(weights, default_model="two").default().card.name == "two"
    with pytest.raises(ModelUnknownError, match="Known models: one, two"):
        models_of(weights, default_model="three").default()


def test_only_the_last_used_networks_stay_in_memory(weights: Path) -> None:
    models = models_of(weights, models_in_memory=1)
    one = models.get("one")
    assert models.get("one") is one
    models.get("two")
    assert models.get("one") is not one


def test_a_folder_without_cards_says_where_to_point(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match="DAREFINE_WEIGHTS_DIR"):
        models_of(tmp_path)


def test_networks_are_loaded_as_the_settings_say(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}
    monkeypatch.setattr(
        "workers.engine.model_cache.Segmenter.load", lambda _, **keywords: seen.update(keywords)
    )
    models = models_of(weights, batch_size=7, compile=True, precision="bf16")
    models.default()
    backend = {"backend": "auto", "int8_dir": models._settings.int8_dir}
    assert seen == {"device": "cpu", "precision": "bf16", "batch_size": 7, "compiled": True, **backend}


def test_a_graph_runs_where_it_can_whatever_the_host_prefers(weights: Path, tmp_path: Path) -> None:
    like = replace(ModelCard.load(weights / "one.json"), classes=THREE)
    path = write_card(tmp_path, like, brightest_channel())
    cards = {"graph": (path, ModelCard.load(path))}
    cache = ModelCache(cards, WorkerSettings(weights_dir=tmp_path, device="cuda:1", precision="bf16"))
    assert (cache.get("graph").device, cache.get("graph").dtype) == ("cpu", "fp32")
    with pytest.raises(DeviceError, match="not in fp16"):
        cache.get("graph", "fp16")
