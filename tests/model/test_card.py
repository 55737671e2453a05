"""Cards survive a round trip, and a wrong one says what is wrong with it."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model.card import ModelCard, NetworkConfig, parse_geometry
from model.errors import CardError
from tests import WEIGHTS

CONTRACT = {
    "name": "phantom-resnet18-centred",
    "version": "1",
    "title": "t",
    "description": "d",
    "intended_use": "u",
    "phantom": True,
    "classes": [
        {"value": 1, "name": "normal", "colour": [0, 0, 0]},
        {"value": 2, "name": "benign", "colour": [255, 0, 0]},
    ],
    "input": {
        "mpp": 0.934,
        "context_ratio": 5,
        "slices_per_side": 5,
        "halo_px": 64,
        "context": "patch",
        "window": "slice",
    },
    "normalisation": {"mean": [0.5, 0.5, 0.5], "std": [1, 1, 1]},
    "network": {
        "architecture": "da_refinenet",
        "encoder_depth": 18,
        "encoder_width": 32,
        "context_depth": 18,
        "decoder_width": 32,
        "fusion": "attention",
        "second_input": "dual",
        "coarse_context": True,
        "decoder": "paper",
    },
    "weights": {"file": "x.safetensors", "sha256": "ab" * 32, "dtype": "float16"},
    "training": {"steps": 3, "curve": [[1, 0.5]]},
    "metrics": {"miou": 0.5},
    "calibration": {
        "temperature": 1.5,
        "error": 0.02,
        "error_uncalibrated": 0.1,
        "fitted_on": "validation",
        "measured_on": "test",
    },
}


def test_json_survives_a_round_trip(tmp_path: Path) -> None:
    card = ModelCard.from_json(CONTRACT)
    card.save(tmp_path / "card.json")
    assert ModelCard.load(tmp_path / "card.json").to_json() == card.to_json() == CONTRACT
    assert [path.name for path in tmp_path.iterdir()] == ["card.json"]


def test_cards_without_a_calibration_load() -> None:
    data = {name: value for name, value in CONTRACT.items() if name != "calibration"}
    card = ModelCard.from_json(data)
    assert card.calibration is None
    assert ModelCard.from_json(card.to_json()) == card


@pytest.mark.parametrize(
    ("config", "sees_patch"),
    [
        (NetworkConfig(second_input="dual"), True),
        (NetworkConfig(second_input="aligned"), True),
        (NetworkConfig(second_input="multi-size"), False),
        (NetworkConfig(second_input="single"), False),
        (NetworkConfig(architecture="unet", encoder_width=32, second_input="single"), False),
    ],
)
def test_every_kind_of_network_survives_a_round_trip(config: NetworkConfig, sees_patch: bool) -> None:
    card = replace(ModelCard.from_json(CONTRACT), network=config)
    assert ModelCard.from_json(card.to_json()).network == config
    assert config.sees_patch is sees_patch


def test_the_cards_in_the_repository_are_read() -> None:
    paths = sorted(WEIGHTS.glob("*.json"))
    assert paths
    assert [ModelCard.load(path).name for path in paths] == [path.stem for path in paths]


def edited(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(CONTRACT))
    change(data)
    return data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("title"), "card lacks title"),
        (lambda d: d.update(colour=1), "card has the unknown key colour"),
        (lambda d: d.update(phantom=1), r"card\.phantom: Input should be a valid boolean"),
        (lambda d: d.update(name="../x"), "name is empty or has a path separator"),
        (lambda d: d.update(training=[]), r"card\.training: Input should be an object"),
        (lambda d: d.update(classes=[]), "class values are"),
        (lambda d: d["classes"].reverse(), "number them 1, 2, 3"),
        (lambda d: d["classes"][0].update(colour=[0, 0, 256]), "0..255"),
        (lambda d: d["classes"][0].update(colour=[0, 0]), r"card\.classes\[0\]\.colour lacks 2"),
        (
            lambda d: d["classes"][0].update(value=True),
            r"card\.classes\[0\]\.value: Input should be a valid integer",
        ),
        (lambda d: d["input"].update(mpp="0.9"), r"card\.input\.mpp: Input should be a valid number"),
        (lambda d: d["input"].update(mpp=0), "0.05..20"),
        (lambda d: d["input"].update(halo_px=60), "multiples of 16"),
        (lambda d: d["input"].update(context_margin_px=60), "multiples of 16"),
        (lambda d: d["input"].update(slices_per_side=0), "at least 1"),
        (lambda d: d["input"].update(context="middle"), "'patch' or 'centred'"),
        (
            lambda d: (d["input"].update(context="centred"), d["network"].update(second_input="single")),
            "sees no context",
        ),
        (lambda d: d["normalisation"].update(std=[1, 0, 1]), "std must be above 0"),
        (lambda d: d["network"].update(fusion="sum"), "'attention', 'concat' or 'add'"),
        (lambda d: d["network"].update(encoder_depth=20), "18, 34, 50, 101 or 152"),
        (lambda d: d["network"].update(decoder_width=0), "multiples of 8"),
        (lambda d: d["network"].update(encoder_width=12), "multiples of 8"),
        (lambda d: d["network"].update(architecture="segnet"), "'da_refinenet', 'unet' or 'onnx'"),
        (lambda d: d["network"].update(second_input="both"), "'hooked', 'multi-size' or 'single'"),
        (lambda d: d["network"].update(second_input="hooked", coarse_context=False), "keep coarse_context"),
        (lambda d: d["network"].update(architecture="unet"), 'set second_input to "single", not "dual"'),
        (
            lambda d: d["network"].update(architecture="unet", second_input="single", fusion="add"),
            "a unet has no encoder_depth, context_depth, decoder_width, fusion",
        ),
        (
            lambda d: d.update(network={"architecture": "onnx", "second_input": "aligned"}),
            'second_input of an onnx must be "single", or "dual"',
        ),
        (
            lambda d: d.update(network={"architecture": "onnx", "encoder_width": 32}),
            "an onnx has no encoder_width",
        ),
        (lambda d: d.update(onnx={}), 'onnx is for a network of architecture "onnx"'),
        (lambda d: d.update(onnx={"layout": "HWC"}), "'NCHW' or 'NHWC'"),
        (lambda d: d.update(onnx={"boxes_input": "window"}), "names one input twice"),
        (lambda d: d["weights"].update(file="/etc/passwd"), "bare file name"),
        (lambda d: d["weights"].update(sha256="12"), "64 hexadecimal"),
        (lambda d: d.update(weights="x"), r"card\.weights: Input should be an object"),
    ],
)
def test_a_wrong_card_is_refused_with_cause_and_cure(
    change: Callable[[dict[str, Any]], object], message: str
) -> None:
    with pytest.raises(CardError, match=message):
        ModelCard.from_json(edited(change))


def test_a_missing_card_and_one_that_is_no_json_are_named(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"none\.json"):
        ModelCard.load(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(CardError, match=r"bad\.json is not JSON"):
        ModelCard.load(tmp_path / "bad.json")


def test_cards_can_be_read_without_torch() -> None:
    code = "import sys, model.card; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_card_of_an_earlier_version_keeps_being_read() -> None:
    old = edited(lambda d: d["input"].update(tiles_per_side=d["input"].pop("slices_per_side")))
    del old["input"]["context"]
    assert ModelCard.from_json(old) == ModelCard.from_json(CONTRACT)
    assert parse_geometry(old["input"]) == ModelCard.from_json(CONTRACT).input


def test_a_card_may_state_colours_and_classes_without_training_pixels() -> None:
    statistics = {"mean": [0.2, 0.4, 0.2], "std": [0.05, 0.05, 0.05]}
    card = ModelCard.from_json({**CONTRACT, "colours": statistics, "untrained": [2]})
    assert ModelCard.from_json(card.to_json()) == card
    with pytest.raises(CardError, match="untrained"):
        ModelCard.from_json({**CONTRACT, "untrained": [3]})
