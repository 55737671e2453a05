"""`darefine models quantise`: what it asks for, and an int8 form that `check` then computes in."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from darefine.cli.main import main
from model.card import ModelCard
from tests import WEIGHTS
from tests.darefine.tiny_card import write_tiny_card
from wsi.phantom import write_phantom


def darefine(data: Path, *arguments: str | Path, **variables: str) -> Result:
    environment = {"COLUMNS": "200", "DAREFINE_DATA_DIR": str(data), **variables}
    return CliRunner().invoke(main, [*map(str, arguments)], env=environment)


def test_a_model_for_real_slides_wants_some(tmp_path: Path) -> None:
    card = write_tiny_card(tmp_path, mpp=1.0)
    replace(ModelCard.load(card), phantom=False).save(card)
    told = darefine(tmp_path, "models", "quantise", card)
    assert told.exit_code == 2
    assert "name some that are like yours with --slide" in told.output


@pytest.mark.skipif(find_spec("nncf") is None, reason="nncf is not installed")
@pytest.mark.slow
def test_the_demo_model_in_int8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One patch is little to calibrate with: six of two slides give 99.8 %.
    monkeypatch.setattr("model.inference.int8_graph.LEAST_AGREEMENT", 0.98)
    slide = write_phantom(tmp_path / "phantom.tif", size_px=7168, seed=5).slide
    card = WEIGHTS / "phantom-resnet18-centred.json"
    refused = darefine(tmp_path, "models", "check", card, DAREFINE_PRECISION="int8")
    assert refused.exit_code == 1
    assert "has no int8 form for this machine" in refused.output
    told = darefine(tmp_path, "models", "quantise", card, "--slide", slide, "--patches", "1")
    assert told.exit_code == 0, told.output
    assert "same label as fp32" in told.output
    told = darefine(tmp_path, "models", "check", card, DAREFINE_PRECISION="int8")
    assert told.exit_code == 0, told.output
    assert "int8 graph" in told.output
    assert "int8 on cpu" in told.output
    monkeypatch.setattr("model.inference.int8_graph.LEAST_AGREEMENT", 1.01)
    told = darefine(tmp_path, "models", "check", card, DAREFINE_PRECISION="int8")
    assert told.exit_code == 1
    assert "it is refused" in told.output
