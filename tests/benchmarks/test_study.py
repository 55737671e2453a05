"""The study's order, resumption, tables and verdict.

Training and inference are stood in for; they have tests of their own.
"""

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.study import command, recipes, results, runs
from benchmarks.study.command import NAMES, main
from benchmarks.study.costs import gflop_of
from benchmarks.study.figure import networks_at_hand
from benchmarks.study.orders import Order, difference, miou_interval
from benchmarks.study.plan import Plan, same_cohort
from benchmarks.study.recipes import config_of, stems_of
from benchmarks.study.report import report
from benchmarks.study.results import Run
from benchmarks.study.rows import SIZES, Row, rows_of
from benchmarks.study.runs import load_stem
from model.card import CardWeights, ModelCard, NetworkConfig
from model.data.index import SlideIndex
from model.data.phantom import PHANTOM_CLASSES
from model.data.splits import Cohort, SlideWithTruth
from model.evaluation.benchmark import Task
from model.evaluation.evaluate import CalibrationError, Evaluation, Tally
from model.network.build import build_network
from model.network.flops import NetworkCost, network_cost
from model.network.init import initialise
from model.training.config import TrainConfig
from model.training.from_scratch_recipe import PHANTOM_INPUT
from model.weights import save_weights

COHORT = {
    "pixels": {"train": {"a.tif": [0, 100_000, 0, 0, 0]}, "test": {"c.tif": [0, 0, 50_000, 0, 50_000]}},
    "test_slices": 8,
    "test_slices_sha256": "00ff",
}
ROWS = rows_of(SIZES["small"])


class Stand:
    """Stands in for slides, training and evaluation; `stop` is called with what is about to be done."""

    def __init__(self) -> None:
        self.trained: list[str] = []
        self.started: list[bool] = []
        self.cohort = COHORT
        self.stop: Callable[[str], None] = lambda _: None
        pairs = (SlideWithTruth(Path(f"{name}.tif"), Path(f"{name}-truth.tif")) for name in "abc")
        cohort = Cohort(*((pair,) for pair in pairs))
        self.index = SlideIndex(PHANTOM_CLASSES, PHANTOM_INPUT, cohort, (), (), (), "phantom")

    def prepare(self, *_: object) -> tuple[SlideIndex, dict[str, Any]]:
        return self.index, self.cohort

    def train(self, config: TrainConfig, index: SlideIndex, out: Path, **options: Any) -> ModelCard:
        name = config.card.name
        self.stop(f"train {name}")
        assert index.cohort.test == ()
        self.trained.append(name.removeprefix("study-"))
        self.started.append(options["start"] is not None)
        weights = CardWeights(f"{name}.safetensors", f"{len(self.trained):064x}", "float16")
        card = replace(config.card, weights=weights, training={"seconds": 7, **options["provenance"]})
        out.mkdir(parents=True, exist_ok=True)
        card.save(out / f"{name}.json")
        return card

    def evaluate(self, cards: Sequence[Path], task: Task, **_: object) -> tuple[list[Evaluation], None]:
        card = ModelCard.load(cards[0])
        self.stop(f"test {card.name}")
        assert len(task.slides) == 1
        tally = Tally(4)
        tally.all.counts += np.eye(4, dtype=np.int64)
        error = CalibrationError(temperature=1.5, error=0.02, error_uncalibrated=0.08, pixels=100)
        slides = (("c.tif", tally),)
        return [Evaluation(card, "cpu", "fp32", 1.5, slides, calibration=error)], None


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    stand = Stand()
    monkeypatch.setattr(command, "prepare", stand.prepare)
    monkeypatch.setattr(command, "draw", lambda *_: None)
    monkeypatch.setattr(runs, "train", stand.train)
    monkeypatch.setattr(runs, "evaluate_index", stand.evaluate)
    monkeypatch.setattr(runs, "network_cost", lambda *_, **__: NetworkCost(1_000_000, 2.0, None))
    return stand


@pytest.fixture
def study(stand: Stand, tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Runs the command and returns what is in the results."""

    def study(*arguments: object) -> list[dict[str, Any]]:
        results, figure = tmp_path / "study.json", tmp_path / "study.png"
        paths = ("--work", tmp_path, "--results", results, "--figure", figure, "--device", "cpu")
        main([str(argument) for argument in (*paths, *arguments)])
        done: list[dict[str, Any]] = json.loads(results.read_text())["runs"]
        return done

    return study


def halt_at(wanted: str) -> Callable[[str], None]:
    def stop(now: str) -> None:
        if now == wanted:
            raise KeyboardInterrupt

    return stop


@pytest.mark.parametrize("halt", ["train study-single-seed2", "test study-single-seed2"])
def test_a_study_that_was_killed_goes_on_where_it_was(
    halt: str, stand: Stand, study: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    asked = ("--rows", "add", "single", "--seeds", 1, 2)
    stand.stop = halt_at(halt)
    with pytest.raises(KeyboardInterrupt):
        study(*asked)
    assert len(json.loads((tmp_path / "study.json").read_text())["runs"]) == 2
    stand.stop = halt_at("nothing")
    done = study(*asked)
    order = ["single-seed1", "add-seed1", "single-seed2", "add-seed2"]
    assert [f"{run['row']}-seed{run['seed']}" for run in done] == order
    # Each once, whether training or test was cut short.
    names = ("slice-stem", "single", "context-stem", "add")
    trained = [f"{name}-seed{seed}" for seed in (1, 2) for name in names]
    assert stand.trained == trained
    assert study(*asked) == done
    assert stand.trained == trained


def test_seeds_that_run_at_once_lose_no_run(
    study: Callable[..., list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = results.load_results

    def slowly(path: Path) -> dict[str, Any]:
        found = read(path)
        time.sleep(0.05)  # in which another process would write, if it did not wait
        return found

    monkeypatch.setattr(results, "load_results", slowly)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda seed: study("--rows", "unet", "single", "--seeds", seed), (1, 2, 3)))
    done = study("--rows", "unet", "single", "--seeds", 1)
    assert sorted((run["row"], run["seed"]) for run in done) == [
        (row, seed) for row in ("single", "unet") for seed in (1, 2, 3)
    ]


def test_networks_start_from_stems_that_are_trained_once_a_seed(
    stand: Stand, study: Callable[..., list[dict[str, Any]]]
) -> None:
    study("--rows", "unet", "single", "add", "centred", "--seeds", 1)
    stems = ["slice-stem", "single", "context-stem", "add", "centred"]
    assert stand.trained == [f"{name}-seed1" for name in ("unet", *stems)]
    assert stand.started == [False, False, True, False, True, True]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_stems_fill_what_they_teach_and_nothing_else(row: Row, tmp_path: Path) -> None:
    network = build_network(config_of(row, 1, Plan()).card.network, 4)
    initialise(network, 2)
    expected = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for stem in stems_of(row, 1, Plan()):
        teacher = build_network(stem.config.card.network, 4)
        initialise(teacher, stem.config.seed)
        weights = tmp_path / f"{stem.config.card.name}.safetensors"
        save_weights(teacher, weights, "float32")
        own = teacher.state_dict()
        for into, source in stem.teaches.items():
            taught = {name for name in expected if name.startswith(into)}
            assert taught
            expected |= {name: own[source + name.removeprefix(into)] for name in taught}
        load_stem(network, weights, stem.teaches)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())


def test_a_run_says_what_it_was_and_names_no_folder(
    study: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    (run,) = study("--rows", "attention", "--seeds", 5, "--steps", 50)
    assert (run["row"], run["seed"], run["steps"], run["recipe"]["seed"]) == ("attention", 5, 480 + 50, 5)
    assert NetworkConfig(**run["network"]) == ROWS[5].network
    assert run["slides"]["c.tif"]["all"] == run["all"]["confusion"]
    assert run["calibration"]["error"] == 0.02
    assert (run["parameters"], run["train_seconds"], run["test_seconds"]) == (1_000_000, 7, 1.5)
    assert run["all"]["miou"] == 1
    assert run["mixed"]["miou"] is None
    assert run["machine"]["device"] == "cpu"
    for name in ("study.json", "study.md"):
        assert str(tmp_path) not in (tmp_path / name).read_text()
    assert "--steps 50 --seeds 5" in (tmp_path / "study.md").read_text()


def test_runs_that_do_not_compare_are_never_mixed(
    stand: Stand,
    study: Callable[..., list[dict[str, Any]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = ("--rows", "single", "--seeds", 1)
    study(*asked)
    before = (tmp_path / "study.json").read_bytes()
    with pytest.raises(SystemExit, match="another plan"):
        study(*asked, "--steps", 77)
    stand.cohort = {**COHORT, "test_slices_sha256": "ff00"}
    with pytest.raises(SystemExit, match="other slides"):
        study(*asked)
    stand.cohort = COHORT
    monkeypatch.setattr(recipes, "SAVED_EVERY", 3)
    with pytest.raises(SystemExit, match="another recipe"):
        study(*asked)
    assert (tmp_path / "study.json").read_bytes() == before


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    results = str(tmp_path / "study.json")
    with pytest.raises(SystemExit, match="--work"):
        main(["--results", results])
    with pytest.raises(SystemExit, match="cannot read"):
        main(["--results", results, "--report"])
    Path(results).write_text("{}")
    with pytest.raises(SystemExit, match="no results file"):
        main(["--results", results, "--report"])


@pytest.mark.parametrize(("moved", "same"), [(100, True), (101, False)])
def test_cohorts_are_the_same_up_to_a_thousandth_of_a_slide(moved: int, same: bool) -> None:
    pixels = {**COHORT["pixels"], "train": {"a.tif": [0, 100_000 - moved, moved, 0, 0]}}  # type: ignore[dict-item]
    assert same_cohort(COHORT, {**COHORT, "pixels": pixels}) is same
    assert not same_cohort(COHORT, {**COHORT, "pixels": {"train": {}, "test": {}}})


def test_every_row_gets_the_same_budget_and_encoders() -> None:
    assert tuple(row.name for row in ROWS) == NAMES
    plan = Plan(steps=100, zoomed_steps=11)
    recipes = [config_of(row, 1, plan) for row in ROWS]
    # 60 steps of the context encoder alone, done once for all that have one, are worth 24 on slices.
    assert [recipe.steps for recipe in recipes] == [11 + 64] + [64] * 2 + [40] * 10
    stems = [[stem.config.steps for stem in stems_of(row, 1, plan)] for row in ROWS]
    assert stems == [[]] + [[11]] * 2 + [[11, 60]] * 10
    kept = [[replace(stage, steps=0) for stage in recipe.stages[-2:]] for recipe in recipes]
    assert all(stages == kept[0] for stages in kept)
    encoders = {(row.network.encoder_depth, row.network.encoder_width) for row in ROWS[1:]}
    assert encoders == {(18, 16)}
    taught = [{name for stem in stems_of(row, 1, plan) for name in stem.teaches} for row in ROWS]
    assert all("encoder." in names for names in taught[1:])
    assert ["context_encoder." in names for names in taught[2:]] == [True] * 11
    assert len({(row.network, row.context, row.shuffled) for row in ROWS}) == len(ROWS)


def test_the_unet_is_the_one_of_nearest_arithmetic() -> None:
    wanted = network_cost(SIZES["small"].base).slice_gflop

    def distance(width: int) -> float:
        unet = NetworkConfig(architecture="unet", encoder_width=width, second_input="single")
        return abs(network_cost(unet).slice_gflop - wanted)

    assert ROWS[0].network.encoder_width == 8
    assert distance(8) < distance(16)  # 8 is the narrowest there is


def test_the_figure_takes_the_first_seeds_whose_weights_are_still_those_scored(
    stand: Stand, study: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    done = study("--rows", "add", "single", "--seeds", 2, 1)
    weights = tmp_path / "weights"
    at_hand = networks_at_hand(done, ROWS, weights)
    titles = {f"study-{row.name}-seed1": row.title for row in ROWS if row.name in {"add", "single"}}
    assert {path.stem: title for path, title in at_hand.items()} == titles
    (weights / "study-add-seed1.json").unlink()
    card = ModelCard.load(weights / "study-single-seed1.json")
    changed = replace(card.weights, sha256="0" * 64)
    replace(card, weights=changed).save(weights / "study-single-seed1.json")
    assert networks_at_hand(done, ROWS, weights) == {}


def scored(row: str, seed: int, hits: int) -> Run:
    """Two classes of 100 pixels each, `hits` of the first right and all of the second."""
    counts = [[hits, 100 - hits, 0, 0], [0, 100, 0, 0], [0] * 4, [0] * 4]
    parts = {"all": counts, "mixed": counts}
    slides = {f"{slide}.tif": parts for slide in "abc"}
    return {"row": row, "seed": seed, "slides": slides, **{part: {"confusion": counts} for part in parts}}


def test_differences_are_taken_over_common_seeds() -> None:
    done = [scored("add", 1, 100), scored("add", 2, 100), scored("single", 2, 0), scored("add", 3, 0)]
    found = difference(done, Order("add", "single"), "all")
    assert found is not None
    assert (found.seeds, found.wins) == (1, 1)
    assert found.mean == pytest.approx(1 - 0.25)  # IoU 1 and 1 against 0 and 100 / 200
    assert found.outcome == "not told apart"  # one seed has no spread
    assert difference(done, Order("add", "unet"), "all") is None


@pytest.mark.parametrize(
    ("high", "low", "outcome"),
    [
        ((80, 81, 82), (50, 51, 52), "higher"),
        ((50, 51, 52), (80, 81, 82), "lower"),
        ((40, 60, 80), (60, 40, 60), "not told apart"),
        ((50, 50, 50), (50, 50, 50), "not told apart"),
    ],
)
def test_an_order_is_called_where_its_interval_does_not_hold_0(
    high: tuple[int, ...], low: tuple[int, ...], outcome: str
) -> None:
    done = [scored("add", seed, hits) for seed, hits in enumerate(high)]
    done += [scored("single", seed, hits) for seed, hits in enumerate(low)]
    found = difference(done, Order("add", "single"), "mixed")
    assert found is not None
    assert found.outcome == outcome


def test_the_report_gives_means_spreads_and_outcomes(
    study: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    study("--rows", "add", "single", "--seeds", 1, 2)
    results = json.loads((tmp_path / "study.json").read_text())
    for run, hits in zip(results["runs"], (50, 90, 52, 92), strict=True):
        run.update(scored(run["row"], run["seed"], hits))
    text = " ".join(report(results, {"Labels": "study.png"}).split())
    assert "![Labels](study.png)" in text
    # Accuracies 75 and 76 of "single", 95 and 96 of "dual, add".
    assert "75.5 ± 0.7" in text
    assert "95.5 ± 0.7" in text
    assert "Come out: dual, add > single." in text
    assert "The other way round: none." in text
    assert "multi-size > single;" in text.split("Not run with two seeds yet:")[1]
    assert "2 of 2 seeds | higher |" in text
    assert "8.0 ± 0.0 | 2.0 ± 0.0 | 1.50 |" in text


def test_slides_and_seeds_are_resampled_in_pairs() -> None:
    rng = np.random.default_rng(3)
    high, low = [], []
    for seed in (1, 2, 3):
        easy = rng.integers(10, 90, 12)  # slides differ far more than rows do
        high.append(of_slides("add", seed, easy + 5))
        low.append(of_slides("single", seed, easy))
    runs = [*high, *low]
    found = difference(runs, Order("add", "single"), "all")
    assert found is not None
    below, above = found.interval
    assert below < found.mean < above
    assert found.outcome == "higher"
    alone = miou_interval(runs, "add", "all")
    assert alone is not None
    assert alone[1] - alone[0] > above - below
    assert difference(runs, Order("add", "single"), "all") == found


def of_slides(row: str, seed: int, hits: NDArray[np.int64]) -> Run:
    """A run whose slides have 100 pixels of each of two classes, `hits` of the first right."""
    slides = {f"{slide:02}.tif": scored(row, seed, int(hit))["all"] for slide, hit in enumerate(hits)}
    counts = np.sum([one["confusion"] for one in slides.values()], axis=0).tolist()
    return {
        "row": row,
        "seed": seed,
        "slides": {name: {"all": one["confusion"]} for name, one in slides.items()},
        "all": {"confusion": counts},
    }


@pytest.mark.parametrize(("context", "share"), [("patch", 1), ("centred", 4)])
def test_a_context_costs_each_slice_its_share(context: str, share: int) -> None:
    run = {"slice_gflop": 6.0, "context_gflop": 3.0, "context": context}
    patch_px = 128  # 2688 px at ratio 20, to a multiple of 32
    expected = 6 + 3 * (patch_px / 512) ** 2 / 25
    assert (gflop_of(run) - 6) / (expected - 6) == pytest.approx(share, rel=0.6)
    assert gflop_of({**run, "context_gflop": None}) == 6


def test_costs_are_drawn(study: Callable[..., list[dict[str, Any]]], tmp_path: Path) -> None:
    study("--rows", "add", "single", "--seeds", 1, 2)
    with Image.open(tmp_path / "study-costs.png") as picture:
        assert len(picture.getcolors(1 << 24) or []) > 2
