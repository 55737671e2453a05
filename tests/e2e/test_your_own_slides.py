"""The page on own slides does what it says: its commands, in their order, on phantom slides."""

import json
import shlex
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile

from darefine.cli.demo import free_port, own_environment
from model.card import ModelCard
from tests.doc_pages import code_blocks
from tests.model.data.qupath import feature, square, write_geojson
from wsi.phantom import write_phantom

from .conftest import RunningService

PAGE = Path(__file__).parents[2] / "docs" / "your-own-slides.md"
NAMES = {1: "Stroma", 4: "Tumor: Positive", 2: "Necrosis"}
"""What the classes of phantoms are called in QuPath; one is not annotated."""


def annotate(slide: Path, truth: Path) -> None:
    """Write squares of pure class as the QuPath export of a slide."""
    labels = tifffile.imread(truth, level=0)
    rows, columns = (length // 32 for length in labels.shape)
    tiles = labels[: rows * 32, : columns * 32].reshape(rows, 32, columns, 32)
    pure = np.where(tiles.min(axis=(1, 3)) == tiles.max(axis=(1, 3)), tiles[:, 0, :, 0], 0)
    features = [
        feature(NAMES[pure[y, x]], square(x * 64, y * 64, 64))
        for y, x in np.argwhere(np.isin(pure, list(NAMES))).tolist()
    ]
    write_geojson(slide.with_suffix(".geojson"), features)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the page describes."""
    work = tmp_path_factory.mktemp("work")
    (work / "slides").mkdir()
    for seed in range(6):
        made = write_phantom(
            work / f"p{seed}.tif", size_px=1536, seed=seed, territory_um=260, tissue_fraction=0.6
        )
        target = work / "slides" / f"case{seed}.tif" if seed else work / "new.svs"
        made.slide.rename(target)
        if seed:
            annotate(target, made.truth)
    (classes,) = code_blocks(PAGE, "json")
    (work / "classes.json").write_text(classes)
    return work


@pytest.mark.e2e
@pytest.mark.slow
def test_the_commands_of_the_page_lead_from_annotations_to_a_label_map(work: Path) -> None:
    commands = [shlex.split(line) for block in code_blocks(PAGE, "sh") for line in block.splitlines()]
    assert [command[1] for command in commands] == ["prepare", "train", "evaluate", "serve", "submit"]
    prepare, train, evaluate, serve, submit = commands
    train[train.index("--steps") + 1] = "3"
    port = free_port()
    environment = {**own_environment(), "OMP_NUM_THREADS": "1", "DAREFINE_DATA_DIR": str(work / "data")}
    run = partial(output_of, work=work, environment=environment)
    told = run(prepare)
    for name in ("stroma", "tumour", "necrosis", "case1"):
        assert name in told
    run(train)
    card = ModelCard.load(work / "weights" / "mine.json")
    assert [entry.name for entry in card.classes] == ["stroma", "tumour", "necrosis"]
    assert not card.phantom
    assert "necrosis" in run(evaluate)
    server = subprocess.Popen(
        [sys.executable, "-m", *serve, "--port", str(port)],
        cwd=work, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        RunningService(url, work / "data", psutil.Process(server.pid)).wait_ready()
        environment["DAREFINE_URL"] = url
        run(submit)
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=90)
    assert_classes_of_the_page(work / "new")


def output_of(command: list[str], work: Path, environment: dict[str, str]) -> str:
    """Run a command of the program in the folder `work`; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_classes_of_the_page(results: Path) -> None:
    (label_map,) = results.glob("*.labels.tif")
    labels = tifffile.imread(label_map, level=0)
    assert labels.shape == (768, 768)
    assert 1 <= labels.max() <= 3
    (document,) = results.glob("*.result.json")
    result = json.loads(document.read_text())
    assert [entry["name"] for entry in result["classes"]] == ["stroma", "tumour", "necrosis"]
    assert len([*results.glob("*.overlay.tif")]) == 1
