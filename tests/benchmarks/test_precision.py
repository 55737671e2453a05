"""Precisions compared by their labels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray

from benchmarks import precision
from benchmarks.precision import SEED, Road, Row, agreement, roads_of, whole
from wsi.phantom import write_phantom

REFERENCE = np.array([[0, 1, 2, 2], [0, 1, 1, 2]], np.uint8)


def test_agreement_is_over_the_tissue_of_the_reference() -> None:
    labels = np.array([[3, 1, 2, 2], [3, 1, 2, 0]], np.uint8)
    assert agreement(labels, REFERENCE) == 4 / 6
    with pytest.raises(ValueError, match="no tissue"):
        agreement(labels, np.zeros_like(REFERENCE))


def test_roads_begin_with_the_reference_and_compile_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    monkeypatch.setattr(precision, "has_openvino", lambda: False)
    assert [str(road) for road in roads_of(cpu, compiled=False)] == ["fp32", "bf16"]
    assert [road.compiled for road in roads_of(cpu, compiled=True)] == [False, False, True]
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: False)
    monkeypatch.setattr(precision, "has_openvino", lambda: True)
    monkeypatch.setattr(precision, "find_spec", lambda _: True)
    assert [str(road) for road in roads_of(cpu, compiled=False)] == [
        "fp32",
        "fp32, openvino",
        "int8, openvino",
    ]


def test_each_road_runs_the_same_slide_and_is_compared_with_fp32(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    truth = whole(write_phantom(tmp_path / "same.tif", size_px=1024, seed=SEED).truth)
    other: NDArray[np.uint8] = truth.copy()
    true, changed = truth > 0, np.cumsum(truth > 0) <= 100
    other[true & changed.reshape(truth.shape)] = 4

    def fake(road: Road, _card: Path, slide: Path, *_: Any) -> Row:
        assert slide.exists()
        fast = road.precision != "fp32"
        return Row(road, 1.0, (1.0 if fast else 2.0,), other if fast else truth)

    monkeypatch.setattr(precision, "run_road", fake)
    monkeypatch.setattr(precision, "roads_of", lambda *_, **__: [Road("fp32"), Road("bf16")])
    command = ["--size", "1024", "--device", "cpu", "--rounds", "2", "--out", str(tmp_path)]
    done = CliRunner().invoke(precision.main, command, catch_exceptions=False)
    assert "100.000 %" in done.output
    assert "2.00 (2.00 to 2.00)" in done.output
    first, second = json.loads((tmp_path / "precision.json").read_text())["roads"]
    same = 1 - np.count_nonzero(other != truth) / np.count_nonzero(true)
    assert (first["agreement"], second["agreement"]) == (1.0, pytest.approx(same))
    assert first["miou"] == 1.0 > second["miou"]
    assert (second["precision"], second["job_s"], second["speed"]) == ("bf16", [1.0, 1.0], [2.0, 2.0, 2.0])
    assert second["tissue_px"] == np.count_nonzero(true)
