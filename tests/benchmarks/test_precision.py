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
from benchmarks.precision import Road, Row, agreement, roads_of

REFERENCE = np.array([[0, 1, 2, 2], [0, 1, 1, 2]], np.uint8)


def test_agreement_is_over_the_tissue_of_the_reference() -> None:
    labels = np.array([[3, 1, 2, 2], [3, 1, 2, 0]], np.uint8)
    assert agreement(labels, REFERENCE) == 4 / 6
    with pytest.raises(ValueError, match="no tissue"):
        agreement(labels, np.zeros_like(REFERENCE))


def test_roads_begin_with_the_reference_and_compile_only_when_asked() -> None:
    cpu = torch.device("cpu")
    assert [str(road) for road in roads_of(cpu, compiled=False)] == ["fp32", "bf16"]
    assert [road.compiled for road in roads_of(cpu, compiled=True)] == [False, False, True]


def test_each_road_runs_the_same_slide_and_is_compared_with_fp32(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other: NDArray[np.uint8] = REFERENCE.copy()
    other[0, 1] = 2

    def fake(road: Road, _card: Path, slide: Path, *_: Any) -> Row:
        assert slide.exists()
        return Row(road, 1.0, 2.0, REFERENCE if road.precision == "fp32" else other)

    monkeypatch.setattr(precision, "run_road", fake)
    command = ["--size", "1024", "--device", "cpu", "--out", str(tmp_path)]
    done = CliRunner().invoke(precision.main, command, catch_exceptions=False)
    assert "100.000 %" in done.output
    assert "83.333 %" in done.output
    roads = json.loads((tmp_path / "precision.json").read_text())["roads"]
    assert [(road["precision"], road["agreement"], road["tissue_px"]) for road in roads] == [
        ("fp32", 1.0, 6),
        ("bf16", 5 / 6, 6),
    ]
    assert [road["class_px"] for road in roads] == [[3, 3], [2, 4]]
