"""Whole jobs beside their network alone."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks import bound
from benchmarks.cards import write_card
from model.card import ModelCard
from model.inference.segmenter import Segmenter
from workers.bench.options import BenchOptions


def run(name: str, dtype: str) -> dict[str, Any]:
    return {
        "model": {"name": name},
        "machine": {"cpu_capability": "X", "processor": "P", "cores": 2, "torch": "2"},
        "device": "cpu",
        "threads": 2,
        "load_before": 0.0,
        "dtype": dtype,
        "slide": {"width": 5120},
        "job": {"seconds": 10.04, "megapixels_per_second": 2.5, "patches": 1},
        "network_alone": {"megapixels_per_second": 2.6},
        "job_to_network": 0.9615,
    }


def test_each_network_is_run_in_fp32_and_in_what_is_fast(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def fake(network: str | None, size_px: int, _folder: Path, repeats: int, chosen: dict[str, Any]):
        asked.append((network, size_px, repeats, chosen["precision"]))
        return run(network or "demo", chosen["precision"])

    monkeypatch.setattr(bound, "run_case", fake)
    monkeypatch.setattr(bound, "choose_precision", lambda *_: "bf16")
    done = CliRunner().invoke(bound.main, ["--out", str(tmp_path), "--repeats", "2"], catch_exceptions=False)
    assert asked == [
        (None, 12_288, 2, "fp32"),
        (None, 12_288, 2, "bf16"),
        (bound.RESNET50, 5_120, 2, "fp32"),
        (bound.RESNET50, 5_120, 2, "bf16"),
    ]
    assert "96.2 %" in done.output
    written = json.loads((tmp_path / "bound.json").read_text())["runs"]
    assert [(one["model"]["name"], one["dtype"]) for one in written] == [
        (name, dtype) for name in ("demo", bound.RESNET50) for dtype in ("fp32", "bf16")
    ]


def test_a_case_is_measured_on_a_slide_that_is_there_and_made_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    measured = []

    def fake(options: BenchOptions, *_: Any, **__: Any) -> dict[str, Any]:
        measured.append((options.slide, options.slide.stat().st_mtime_ns))
        return {}

    monkeypatch.setattr(bound, "run_bench", fake)
    for precision in ("fp32", "bf16"):
        bound.run_case(None, 2560, tmp_path, 1, {"device": "cpu", "precision": precision})
    assert len(measured) == 2
    assert len(set(measured)) == 1


def test_a_card_with_random_weights_can_be_served(tmp_path: Path) -> None:
    card = write_card("unet", tmp_path)
    assert ModelCard.load(card).network.architecture == "unet"
    segmenter = Segmenter.load(card, device="cpu")
    assert segmenter.card.weights.sha256 == sha256((tmp_path / "unet.safetensors").read_bytes()).hexdigest()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert write_card("unet", tmp_path) == card
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before, "made once"
