"""`darefine bench` for real: a model process, a small slide, a tiny network of random weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from darefine.cli.bench import slides_per_hour, tables_of
from darefine.cli.main import main
from tests import ROOT
from tests.darefine.tiny_card import write_tiny_card


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_card(tmp_path_factory.mktemp("weights"), mpp=1.0)


def slide(path: Path, **tags: Any) -> Path:
    """1100 x 700 px of noise in the colours of tissue: six tiles."""
    noise = np.random.default_rng(0).integers(60, 180, (35, 55, 3), np.uint8)
    tifffile.imwrite(path, noise.repeat(20, 0).repeat(20, 1), photometric="rgb", tile=(256, 256), **tags)
    return path


def bench(card: Path, slide: Path, *options: str) -> Any:
    """Run the command."""
    arguments = ["bench", "--slide", str(slide), "--model", str(card), "--repeats", "1", "--device", "cpu"]
    return CliRunner().invoke(main, [*arguments, "--threads", "1", *options])


@pytest.fixture(scope="module")
def measured(card: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command prints as JSON."""
    path = tmp_path_factory.mktemp("slide") / "noise.tif"
    answer = bench(
        card,
        slide(path, resolution=(1e4, 1e4), resolutionunit="CENTIMETER"),
        *("--precision", "fp32", "--size", "1024", "--json"),
    )
    assert answer.exit_code == 0, answer.output
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


@pytest.mark.slow
def test_a_job_the_network_and_the_rest_are_measured(measured: dict[str, Any]) -> None:
    assert measured["model"]["name"] == "tiny"
    assert (measured["device"], measured["dtype"], measured["threads"]) == ("cpu", "fp32", 1)
    job, alone, stand_in = (measured[key] for key in ("job", "network_alone", "stand_in"))
    assert (
        job["megapixels"]
        == alone["megapixels"]
        == stand_in["megapixels"]
        == pytest.approx(6 * 0.512**2, abs=1e-3)
    )
    assert job["patches"] == 6
    assert (
        job["seconds"] > sum(job["stage_seconds"][stage] for stage in ("plan", "network", "pyramid")) * 0.99
    )
    network = job["stage_seconds"]["network"]
    assert job["stage_seconds"]["context"] + job["stage_seconds"]["slices"] == pytest.approx(
        network, rel=0.05
    )
    ratio = job["megapixels_per_second"] / alone["megapixels_per_second"]
    assert measured["job_to_network"] == pytest.approx(ratio, abs=2e-3)
    assert 0 < measured["memory_mb"]["idle"] <= measured["memory_mb"]["peak"]


def test_slides_an_hour_follow_from_the_job(measured: dict[str, Any]) -> None:
    seconds = measured["job"]["seconds"] * 50_000**2 / (1100 * 700)
    assert measured["slides_per_hour"]["slides"] == pytest.approx(3600 / seconds, abs=0.06)
    assert measured["slides_per_hour"]["size_px"] == 50_000
    example = {"slide": {"width": 25_000, "height": 10_000}, "job": {"seconds": 36.0}}
    assert slides_per_hour(example) == {"size_px": 50_000, "slides": 10.0}


def test_every_key_is_documented(measured: dict[str, Any]) -> None:
    page = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    keys = {*measured, *measured["job"], *measured["job"]["stage_seconds"], *measured["memory_mb"]}
    assert {key for key in keys if f"`{key}`" not in page} == set()


def test_the_same_figures_stand_in_the_tables(measured: dict[str, Any]) -> None:
    text, *tables = tables_of(measured)
    assert "tiny on cpu, fp32 in torch, chosen by auto" in text
    assert all(name in text for name in measured["machine"]["cpu_features"])
    cells = {cell for table in tables for column in table.columns for cell in column.cells}
    assert f"{measured['job']['megapixels_per_second']:.1f}" in cells
    (row,) = measured["models"]
    hourly = 3600 / (row["seconds"] * 50_000**2 / 1024**2)
    assert row["slides_per_hour"] == pytest.approx(hourly, abs=0.06)
    assert {"tiny", "torch, fp32", f"{row['slides_per_hour']:g}"} <= cells


def test_a_slide_that_cannot_be_run_is_refused_with_what_to_do(card: Path, tmp_path: Path) -> None:
    answer = bench(card, slide(tmp_path / "unknown.tif"))
    assert answer.exit_code == 1
    assert "mpp=" in answer.output


def test_a_model_is_named_as_in_other_commands(tmp_path: Path) -> None:
    answer = CliRunner().invoke(main, ["bench", "--model", "no-such-model"])
    assert answer.exit_code == 1
    assert "Known models: phantom-resnet18-centred" in answer.output
