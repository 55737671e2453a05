"""`darefine models check` and `export`, and models given as folders or names on the hub."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from darefine.cli.main import main
from darefine.local import LocalRun
from model.card import ModelCard
from tests.darefine.tiny_card import write_tiny_card
from tests.model.inference.onnx_graphs import brightest_channel, write_card
from workers.jobs import JobParameters
from workers.settings import WorkerSettings
from wsi.palette import LabelClass

THREE = tuple(LabelClass(value, f"class {value}", (value, 0, 0)) for value in (1, 2, 3))


def darefine(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny_card(tmp_path, mpp=1.0)


@pytest.fixture
def graph(tiny: Path, tmp_path: Path) -> Path:
    """Card of an ONNX file of three classes."""
    (tmp_path / "lab").mkdir()
    like = replace(ModelCard.load(tiny), classes=THREE, licence="CC-BY-4.0")
    return write_card(tmp_path / "lab", like, brightest_channel(), training={}, metrics={})


def test_check_says_what_a_model_is(tiny: Path, graph: Path) -> None:
    told = darefine("models", "check", graph)
    assert told.exit_code == 0, told.output
    for words in ("graph, version", "onnxruntime 1.", "fp32 on cpu", "544 px at 1 um/px", "CC-BY-4.0"):
        assert words in told.output
    told = darefine("models", "check", tiny)
    assert told.exit_code == 0, told.output
    for words in ("torch, ", "patch, ", "px at 5 um/px", "not stated", "labels and probabilities"):
        assert words in told.output


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda card: card.update(onnx={"layout": "NHWC"}), 'set onnx.layout to "NCHW"'),
        (lambda card: card["weights"].update(sha256=64 * "0"), "has SHA-256"),
        (lambda card: card.update(copyright="MIT"), "unknown key copyright"),
    ],
)
def test_check_ends_in_one_line_that_says_what_is_wrong(
    graph: Path, spoil: Callable[[dict[str, Any]], object], words: str
) -> None:
    card = json.loads(graph.read_text())
    spoil(card)
    graph.write_text(json.dumps(card))
    told = darefine("models", "check", graph)
    assert (told.exit_code, len(told.stderr.splitlines())) == (1, 1), told.output
    assert words in told.stderr


@pytest.mark.parametrize("package", ["onnxruntime", "onnx"])
@pytest.mark.parametrize(
    "arguments", [["models", "check"], ["serve", "--weights"], ["run", __file__, "--out", "out", "--model"]]
)
def test_a_missing_extra_is_named_in_one_line(
    graph: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, package: str, arguments: list[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setenv("DAREFINE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    told = darefine(*arguments, graph)
    assert told.exit_code == 1
    assert told.stderr.splitlines() == [
        f"Error: an ONNX file needs {package}, which is not installed: pip install 'darefine[onnx]'"
    ]


def test_an_exported_folder_is_a_model(tiny: Path, graph: Path, tmp_path: Path) -> None:
    told = darefine("models", "export", tiny, "--out", tmp_path / "folder")
    assert told.exit_code == 0, told.output
    assert "No licence is stated" in told.stderr
    files = {path.name for path in (tmp_path / "folder").iterdir()}
    assert files == {"README.md", "config.json", "model.safetensors"}
    run = LocalRun.of(WorkerSettings(), str(tmp_path / "folder"), JobParameters())
    assert run.preflight().model.sha256 == ModelCard.load(tiny).weights.sha256
    assert run.settings.weights_dir == tmp_path / "folder"

    again = darefine("models", "export", tiny, "--out", tmp_path / "folder")
    assert again.exit_code == 0, again.output
    told = darefine("models", "export", graph, "--out", tmp_path / "folder")
    assert (told.exit_code, told.stderr) == (0, "")
    files = {path.name for path in (tmp_path / "folder").iterdir()}
    assert files == {"README.md", "config.json", "model.onnx"}
    assert 'license: "cc-by-4.0"' in (tmp_path / "folder" / "README.md").read_text()
    assert darefine("models", "check", tmp_path / "folder").exit_code == 0


@pytest.mark.parametrize("name", ["notes.txt", "config.json"])
def test_export_does_not_write_among_other_files(tiny: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / name).write_text('{"model_type": "bert"}')
    told = darefine("models", "export", tiny, "--out", tmp_path / "other")
    assert told.exit_code == 2
    assert "holds other files" in told.stderr
    assert len(list((tmp_path / "other").iterdir())) == 1


def test_export_does_not_replace_what_it_reads(tiny: Path) -> None:
    told = darefine("models", "export", tiny, "--format", "onnx", "--out", tiny.parent)
    assert told.exit_code == 2
    assert "is the model's own folder" in told.stderr
    assert sorted(path.name for path in tiny.parent.iterdir()) == ["tiny.json", "tiny.safetensors"]


@pytest.mark.parametrize("arguments", [["serve", "--weights"], ["models", "check"]])
def test_what_is_no_model_is_told(tmp_path: Path, arguments: list[str]) -> None:
    told = darefine(*arguments, tmp_path)
    assert told.exit_code in {1, 2}
    assert str(tmp_path) in told.stderr
