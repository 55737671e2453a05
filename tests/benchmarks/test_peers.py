"""Peers: naive loop and tiatoolbox's adapter against our labels, processes, report, command."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks.cards import write_patch_card
from benchmarks.peers import cases, command, naive, ours, tiatoolbox_run
from benchmarks.peers.cases import SIZES_PX, Case, Setting, run_case, task_of
from benchmarks.peers.competitors import (
    NAIVE,
    OURS,
    OURS_INT8,
    OURS_LIKE_PEERS,
    TIATOOLBOX,
    Turn,
    competitors,
    environment_of,
    run_competitor,
)
from benchmarks.peers.plain_network import PlainNetwork
from benchmarks.peers.report import Seen, caption_of_cases, merged, summary, table_of
from benchmarks.peers.task import Outcome, Task
from benchmarks.tables import DEMO_CARD, README
from model.card import ModelCard
from workers.engine.pipeline import run_pipeline
from workers.engine.stopwatch import Stopwatch
from wsi.phantom import write_phantom

SIZE_PX = 2560


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """A phantom of 2 x 2 patches, cut off at the right and below, for the demo network; 4 slices a patch."""
    folder = tmp_path_factory.mktemp("peers")
    demo = ModelCard.load(write_patch_card(DEMO_CARD, folder))
    cut = replace(demo.input, context_ratio=16, slices_per_side=2, halo_px=16, context_margin_px=None)
    small = replace(demo, input=cut)
    small.save(folder / "small.json")
    slide = write_phantom(folder / "slide.tif", size_px=SIZE_PX, seed=3, threads=1, tissue_fraction=1.0).slide
    setting = Setting(folder, threads=1, repeats=1, tiatoolbox_python=None, load_before=None)
    made = task_of(Case("stand-in", SIZE_PX, 1.0), setting, folder / "small.json", slide, folder)
    assert (made.patch_px, made.context_px, made.downsample) == (1024, 64, 2)
    return replace(made, like_peers=True)


@pytest.mark.slow
# Contexts are averaged another way, and the demo network, trained with centred ones at a ratio of 20, is
# unsure where they are not: 0.69, 0.80 and 0.86 of the labels agree at ratios of 4, 8 and 16.
@pytest.mark.parametrize(("stand_in", "at_least"), [(True, 0.95), (False, 0.82)])
def test_the_naive_loop_agrees_with_our_labels(
    task: Task, stand_in: bool, at_least: float, tmp_path: Path
) -> None:
    task = replace(task, stand_in=stand_in, folder=str(tmp_path))
    run = ours.run_of(task)
    run_pipeline(run, ours.segmenter_of(task), lambda _: None, lambda: False)
    watch = Stopwatch()

    labels = naive.segment(task, PlainNetwork.of(task), watch)

    own = ours.labels_of(ours.JobFiles(Path(run.directory)))
    assert labels.shape == own.shape == (SIZE_PX // 2, SIZE_PX // 2)
    assert len(np.unique(labels)) > 1
    assert (labels == own)[own > 0].mean() > at_least
    assert set(watch.seconds) == {"read", "network", "pyramid"}
    with naive.tifffile.TiffFile(tmp_path / "naive.tif") as tiff:
        np.testing.assert_array_equal(tiff.pages[0].asarray(), labels)
        assert [page.shape[0] for page in tiff.pages] == [1280, 640, 320]


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The adapter around classes that only stand where tiatoolbox's would."""
    for name in ("zarr", "architecture.utils", "engine.io_config", "engine.semantic_segmentor", "models_abc"):
        module: Any = ModuleType(name)
        module.argmax_last_axis = lambda image: image.argmax(-1)
        module.IOSegmentorConfig = module.SemanticSegmentor = SimpleNamespace
        module.ModelABC = torch.nn.Module
        monkeypatch.setitem(sys.modules, name if name == "zarr" else f"tiatoolbox.models.{name}", module)
    monkeypatch.delitem(sys.modules, "benchmarks.peers.tiatoolbox_adapter", raising=False)
    return import_module("benchmarks.peers.tiatoolbox_adapter")


@pytest.mark.slow
def test_the_adapter_labels_a_patch_as_the_naive_loop_does(adapter: ModuleType, task: Task) -> None:
    plain = PlainNetwork.of(replace(task, stand_in=False))
    with naive.openslide.OpenSlide(task.slide) as slide:
        patch = naive.read_patch(slide, task, 0, 0).round()
    labels = np.zeros((task.patch_px, task.patch_px), np.uint8)
    with torch.inference_mode():
        naive.label_patch(plain, patch, labels)

    model = adapter.DualModel(plain)
    pixels = patch.permute(0, 2, 3, 1).to(torch.uint8)
    (probabilities,) = model.infer_batch(model, pixels, device="cpu")

    assert probabilities.shape == (*labels.shape, 4)
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-4)
    assert (model.postproc(probabilities) == labels).mean() > 0.999


def test_operators_that_do_not_load_are_declared_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    defined: list[str] = []

    def import_once_defined(name: str) -> None:
        if not defined:
            raise RuntimeError(f"operator {name}::nms does not exist")

    monkeypatch.setattr(tiatoolbox_run, "import_module", import_once_defined)
    monkeypatch.setattr(torch.library, "define", lambda name, _: defined.append(name))
    tiatoolbox_run.import_torchvision()
    assert defined == ["torchvision::nms", "torchvision::qnms"]


def test_competitors_run_in_processes_of_their_own(task: Task, tmp_path: Path) -> None:
    turns = [
        run_competitor(who, replace(task, folder=str(tmp_path / who)), None)
        for who in (OURS_LIKE_PEERS, NAIVE)
    ]
    for turn in turns:
        assert turn.outcome.seconds > 0
        assert turn.outcome.peak_mb > 100
        assert (turn.outcome.precision, turn.outcome.halo_px, turn.outcome.threads) == ("fp32", 0, 1)
        assert turn.outcome.versions["torch"] == torch.__version__
    own, loop = turns
    assert own.outcome.tissue_megapixels == pytest.approx(9 * 1024**2 / 1e6, abs=0.01)
    assert (own.labels == loop.labels)[own.labels > 0].mean() > 0.95


def test_a_competitor_that_fails_says_why(task: Task, tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="no-card"):
        run_competitor(NAIVE, replace(task, folder=str(tmp_path / "a"), card="no-card.json"), None)


def outcome(seconds: float, *, peak_mb: int = 500, **facts: Any) -> Outcome:
    return Outcome(seconds, peak_mb, "fp32", 0, 2, {"torch": "2.13", "tiatoolbox": "2.1.3"}, **facts)


def seen(seconds: Sequence[float], labels: Sequence[int], **facts: Any) -> Seen:
    runs = Seen()
    for number, each in enumerate(seconds):
        turn = Turn(outcome(each, peak_mb=500 + number, **facts), np.array([labels], np.uint8))
        runs.add(turn)
    return runs


def measured() -> dict[str, Any]:
    """The figures of a case."""
    return summary(
        {
            OURS: seen([2.0, 1.0, 4.0], [0, 1, 2, 3], tissue_megapixels=50.0),
            OURS_LIKE_PEERS: seen([1.0], [0, 1, 2, 3], tissue_megapixels=50.0),
            NAIVE: seen([6.0], [4, 1, 2, 1]),
        },
        megapixels=100.0,
    )


def test_figures_are_of_the_median_run() -> None:
    figures = measured()
    own, loop = figures["entrants"][OURS], figures["entrants"][NAIVE]
    assert figures["megapixels"] == {"slide": 100.0, "tissue_tiles": 50.0}
    assert (own["seconds"], own["seconds_range"], own["peak_mb"]) == (2.0, [1.0, 4.0], 502)
    assert own["megapixels_per_second"] == {"slide": 50.0, "tissue_tiles": 25.0}
    assert (loop["time_to_ours"], loop["time_to_ours_like_peers"]) == (3.0, 6.0)
    # What we left out as glass does not count.
    assert loop["labels_as_ours"] == pytest.approx(2 / 3, abs=1e-4)


def case_of(network: str, **facts: Any) -> dict[str, Any]:
    machine = {"processor": "P", "cores": 2, "cpu_capability": "AVX2", "torch": "2.13"}
    case = {"network": network, "size_px": 10_240, "tissue_fraction": 0.3, "load_before": 0.2}
    return {**case, "repeats": 3, "threads": 2, "machine": machine, **measured(), **facts}


def test_the_table_has_a_row_for_each_of_a_case() -> None:
    heading, *rows = table_of([case_of("demo")])
    assert {len(row) for row in rows} == {len(heading)}
    assert rows[0][:5] == ["demo", "10 240", "30%", "ours, fp32", "2.0 (1.0 to 4.0)"]
    assert rows[2][3:] == ["naive loop", "6.0 (6.0 to 6.0)", "16.7", "8.3", "500", "3.00", "6.00", "66.7 %"]


def test_the_caption_names_each_setting_once() -> None:
    one, two = case_of("demo"), case_of("stand-in", load_before=1.0)
    assert caption_of_cases([one, two]) == (
        "Median of 3 (fastest to slowest); 2 torch threads, P, 2 cores, AVX2, torch 2.13; "
        "load average before: 0.2 to 1.0."
    )
    quiet = case_of("demo", load_before=None, repeats=1)
    quiet["entrants"][TIATOOLBOX] = quiet["entrants"][NAIVE]
    assert caption_of_cases([one, quiet]).endswith("torch 2.13, tiatoolbox 2.1.3.")


def test_a_case_measured_again_takes_the_place_of_the_old_one() -> None:
    old = [case_of("demo"), case_of("stand-in")]
    again = case_of("demo", repeats=9)
    assert merged(old, [again]) == [again, old[1]]
    larger = case_of("demo", size_px=20_480)
    assert merged(old, [larger]) == [*old, larger]


def test_all_take_turns_on_the_same_task(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Task]] = []

    def run(who: str, own: Task, python: Path | None) -> Turn:
        asked.append((who, own))
        return Turn(outcome(1.0, tissue_megapixels=1.0), np.ones((1, 1), np.uint8))

    monkeypatch.setattr(cases, "run_competitor", run)
    monkeypatch.setattr(cases, "phantom_slide", lambda *_: Path(task.slide))
    monkeypatch.setattr(cases, "has_openvino", lambda: False)  # quantising takes a minute
    setting = Setting(tmp_path, threads=1, repeats=2, tiatoolbox_python=Path("python"), load_before=0.5)
    done = run_case(Case("demo", SIZE_PX, 0.3), setting, lambda *_: None)

    assert [who for who, _ in asked] == 2 * [OURS, OURS_LIKE_PEERS, NAIVE, TIATOOLBOX]
    assert len({own.folder for _, own in asked}) == 8
    assert len({replace(own, folder="") for _, own in asked}) == 1
    assert not asked[0][1].stand_in
    assert (done["load_before"], done["repeats"], list(done["entrants"])) == (
        0.5,
        2,
        [who for who, _ in asked[:4]],
    )
    assert str(tmp_path) not in json.dumps(done)


def test_without_its_interpreter_tiatoolbox_is_left_out() -> None:
    assert competitors(None, int8=False) == (OURS, OURS_LIKE_PEERS, NAIVE)
    assert competitors(None, int8=True) == (OURS, OURS_INT8, OURS_LIKE_PEERS, NAIVE)


def test_the_command_measures_what_was_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[Case, Setting]] = []

    def run(case: Case, setting: Setting, show: object) -> dict[str, Any]:
        ran.append((case, setting))
        return case_of(case.network, size_px=case.size_px, tissue_fraction=case.tissue_fraction)

    monkeypatch.setattr(command, "run_case", run)
    before = README.read_bytes()
    for arguments in ("--network demo --tissue 0.5 --size 2048 --repeats 2 --threads 1", ""):
        done = CliRunner().invoke(command.main, [*arguments.split(), "--out", str(tmp_path / "out")])
        assert done.exit_code == 0, done.output
    (first, setting), *rest = ran
    assert first == Case("demo", 2048, 0.5)
    assert (setting.repeats, setting.threads, setting.tiatoolbox_python) == (2, 1, None)
    assert [case for case, _ in rest] == [
        Case(n, SIZES_PX[n], share) for n in SIZES_PX for share in (1.0, 0.3)
    ]
    kept = json.loads((tmp_path / "out" / "peers.json").read_text())["cases"]
    assert len(kept) == 7
    assert README.read_bytes() == before


def test_only_our_threads_are_told_how_to_wait() -> None:
    assert environment_of(OURS) == environment_of(OURS_LIKE_PEERS) == {}
    assert environment_of(NAIVE) == environment_of(TIATOOLBOX) == {"GOMP_SPINCOUNT": "300000"}
