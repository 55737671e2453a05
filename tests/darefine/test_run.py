"""`darefine run` with a tiny network of random weights, in a real engine process."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

from darefine.cli.main import main
from darefine.local import LocalRun, exclusive, label_slides
from darefine.outcome import End
from tests.darefine.tiny_card import write_tiny_card
from workers.errors import LocalRunError

PATIENCE_S = 90


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_card(tmp_path_factory.mktemp("weights"), mpp=1.0)


def tissue(path: Path, side: int = 700, seed: int = 0) -> Path:
    """A slide of noise in the colours of tissue, at 1 um/px."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(60, 180, (side // 20, side // 20, 3), np.uint8)
    scale = {"resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER"}
    pixels = noise.repeat(20, 0).repeat(20, 1)
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(256, 256), compression="adobe_deflate", **scale)
    return path


def run(card: Path, *arguments: str | Path) -> Result:
    options = ["--model", str(card), "--device", "cpu", "--threads", "1"]
    return CliRunner().invoke(main, ["run", *map(str, arguments), *options])


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may load a model."""

    def refuse(*_: object) -> None:
        raise AssertionError("an engine was started")

    monkeypatch.setattr("darefine.local.LocalEngine.__enter__", refuse)


def table(out: Path) -> dict[str, dict[str, str]]:
    with (out / "summary.csv").open(newline="") as file:
        return {row["slide"]: row for row in csv.DictReader(file)}


@pytest.mark.slow
def test_a_folder_of_slides(card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    tissue(folder / "a.tif")
    (folder / "junk.svs").write_bytes(b"no slide" * 100)
    tissue(folder / "more" / "b.tif", seed=1)
    done = run(card, folder, "-r", "--out", out)
    assert done.exit_code == 1, done.output
    assert done.stderr.startswith("failed     ")
    assert "junk.svs is no slide that can be read" in done.stderr
    assert done.stdout.count("succeeded") == 3
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == [
        "a.tiny.job.json",
        "a.tiny.labels.tif",
        "a.tiny.overlay.tif",
        "a.tiny.result.json",
        "b.tiny.job.json",
        "b.tiny.labels.tif",
        "b.tiny.overlay.tif",
        "b.tiny.result.json",
        "junk.tiny.job.json",
        "summary.csv",
    ], "no work is left behind"
    assert tifffile.imread(out / "a.tiny.labels.tif").shape == (700, 700)
    result = json.loads((out / "more" / "b.tiny.result.json").read_text())
    rows = table(out)
    assert rows["b.tif"]["job_id"] == result["job"]["id"]
    assert rows["b.tif"]["warnings"].split("; ") == [one["code"] for one in result["warnings"]]
    assert (rows["a.tif"]["state"], rows["junk.svs"]["state"]) == ("succeeded", "failed")

    (folder / "junk.svs").unlink()
    os.utime(folder / "a.tif", (1e9, 1e9))
    with monkeypatch.context() as patch:
        patch.setattr("darefine.local.LocalEngine.__enter__", lambda _: pytest.fail("a model was loaded"))
        again = run(card, folder, "-r", "--out", out, "--json")
    assert again.exit_code == 0, again.output
    lines = [json.loads(line) for line in again.stdout.splitlines()]
    assert [line["state"] for line in lines] == ["skipped", "skipped"]
    assert lines[1]["result"] == result
    assert run(card, folder / "a.tif", "--mpp", "0.9", "--out", out).exit_code == 0
    assert table(out)["a.tif"]["mpp_source"] == "request"


@pytest.mark.slow
@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_slide_goes_on_to_the_same_bytes(
    card: Path, tmp_path: Path, ended_by: signal.Signals
) -> None:
    slide, out = tissue(tmp_path / "large.tif", side=2600), tmp_path / "out"
    options = ["--model", str(card), "--device", "cpu", "--threads", "1", "--out", str(out)]
    process = subprocess.Popen([sys.executable, "-m", "darefine", "run", str(slide), *options])
    patches = out / ".large.tiny.run" / "patches"
    waits_for(lambda: patches.exists() and len(list(patches.rglob("*.tif"))) >= 3, "three patches")
    process.send_signal(ended_by)
    assert process.wait(PATIENCE_S) == (130 if ended_by is signal.SIGINT else -9)
    finished = {path: made(path) for path in patches.rglob("*.tif")}
    job_id = json.loads((out / "large.tiny.job.json").read_text())["job_id"]
    kept: set[Path] = set()

    def look(*_: object) -> None:
        kept.update(path for path, when in finished.items() if made(path) == when)

    (outcome,) = label_slides([slide], out, model=str(card), report=look)
    assert outcome.end is End.SUCCEEDED, outcome.error
    assert kept == set(finished), "patches that were finished are not made again"
    assert outcome.result is not None
    assert outcome.result.job["id"] == job_id
    (fresh,) = label_slides([slide], tmp_path / "fresh", model=str(card))
    assert fresh.result is not None
    assert fresh.result.files == outcome.result.files


def made(path: Path) -> int | None:
    """When a file was written; None if it is not there."""
    return path.stat().st_mtime_ns if path.exists() else None


def waits_for(holds: Callable[[], object], what: str) -> None:
    """Poll `holds`; the limit only ends a test that would hang."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.01)


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--mpp", "4"], 1, "detail cannot be made up"),
        (["--mpp", "9"], 2, "--mpp"),
        (["--halo-px", "7"], 1, "16"),
        (["--shard", "8/8"], 2, "such as 0/8"),
        (["--out", "/proc/nowhere"], 1, "Cannot write to"),
    ],
)
def test_options_are_judged_before_a_model_is_loaded(
    card: Path, tmp_path: Path, options: list[str], code: int, says: str
) -> None:
    refused = run(card, tissue(tmp_path / "a.tif"), "--out", tmp_path / "out", *options)
    assert (refused.exit_code, says in refused.stderr) == (code, True), refused.output


@pytest.mark.usefixtures("no_engine")
def test_an_unknown_model_is_told_with_the_known_ones(card: Path, tmp_path: Path) -> None:
    slide = tissue(tmp_path / "a.tif")
    environment = {"DAREFINE_WEIGHTS_DIR": str(card.parent)}
    arguments = ["run", str(slide), "--out", str(tmp_path / "out"), "--model", "huge"]
    refused = CliRunner().invoke(main, arguments, env=environment)
    assert refused.exit_code == 1
    assert refused.stderr.strip().endswith("Known models: tiny.")


def test_shards_are_all_the_slides_each_once(
    card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        tissue(tmp_path / "in" / f"{number}.tif", side=100)
    labelled: list[list[str]] = []

    def note(_: LocalRun, slides: list[tuple[Path, Path]]):
        labelled.append([slide.stem for slide, _ in slides])
        yield from ()

    monkeypatch.setattr(LocalRun, "label", note)
    for part in range(3):
        run(card, tmp_path / "in", "--out", tmp_path / "out", "--shard", f"{part}/3")
    assert labelled == [["0", "3"], ["1", "4"], ["2"]]


def test_two_processes_do_not_work_on_one_slide(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / "out" / ".a.m.run"),
        pytest.raises(LocalRunError, match="Another process"),
        exclusive(tmp_path / "out" / ".a.m.run"),
    ):
        pass
    with exclusive(tmp_path / "out" / ".a.m.run"):
        pass
