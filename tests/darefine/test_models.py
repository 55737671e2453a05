"""`darefine models`, on two small networks in place of the paper's."""

import json

import pytest
from click.testing import CliRunner

from darefine.cli.main import main
from model.card import NetworkConfig
from model.network.zoo import NamedNetwork, PaperScores
from tests import WEIGHTS

SMALL = {"encoder_depth": 18, "context_depth": 18, "encoder_width": 8, "decoder_width": 8}
FEW = {
    "small-attention": NamedNetwork(NetworkConfig(**SMALL), paper_mb=2, note="a note"),  # type: ignore[arg-type]
    "small-unet": NamedNetwork(
        NetworkConfig(architecture="unet", encoder_width=8, second_input="single"),
        paper_scores=PaperScores(31.2, (45.5, 25.0, 20.1, 50.2), 57.2, 49.1),
    ),
}


@pytest.fixture(autouse=True)
def few_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darefine.cli.models.NETWORKS", FEW)


def test_json_holds_every_figure() -> None:
    answer = CliRunner().invoke(main, ["models", "--json"])
    assert answer.exit_code == 0, answer.output
    report = json.loads(answer.output)
    assert report["side_px"] == 512
    attention, unet = report["networks"]
    assert (attention["name"], unet["name"]) == tuple(FEW)
    assert attention["fp32_mb"] == round(attention["parameters"] * 4 / 1e6, 1)
    assert attention["difference_percent"] == pytest.approx(100 * (attention["fp32_mb"] / 2 - 1), abs=2.6)
    assert attention["context_gflop"] > 0
    assert attention["slice_gflop"] > 0
    assert attention["config"]["fusion"] == "attention"
    assert (unet["paper_mb"], unet["difference_percent"], unet["context_gflop"]) == (None, None, None)
    assert unet["paper_scores"]["iou"] == [45.5, 25.0, 20.1, 50.2]


def test_the_table_shows_names_sizes_and_notes() -> None:
    answer = CliRunner().invoke(main, ["models"], env={"COLUMNS": "120"})
    assert answer.exit_code == 0, answer.output
    for text in (*FEW, "512 x 512 px", "small-attention: a note."):
        assert text in answer.output


def test_the_schema_of_cards_names_the_members_of_a_card() -> None:
    answer = CliRunner().invoke(main, ["models", "--card-schema"])
    assert answer.exit_code == 0, answer.output
    schema = json.loads(answer.output)
    card = json.loads((WEIGHTS / "phantom-resnet18-centred.json").read_text(encoding="utf-8"))
    assert schema["properties"].keys() - card.keys() == {"licence", "onnx", "untrained"}
    assert card.keys() <= schema["properties"].keys()
    geometry = schema["$defs"]["InputGeometry"]
    assert geometry["properties"].keys() == card["input"].keys()
    assert geometry["properties"]["context"]["enum"] == ["patch", "centred"]
    assert set(schema["required"]) == card.keys() - {"training", "metrics", "calibration", "colours"}
