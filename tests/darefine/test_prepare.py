"""`darefine prepare` as it is typed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

from darefine.cli.main import main
from model.data.index import SlideIndex
from model.data.splits import BACH_SPLITS
from tests.model.data.image_scope import Outline, write_xml

BENIGN = Outline("Benign", [(40, 40), (500, 40), (500, 500), (40, 500)])
INVASIVE = Outline("carcinoma invasive", [(500, 40), (600, 40), (600, 900), (500, 900)], as_text=True)


def prepare(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["prepare", *map(str, arguments)])


def write_slide(folder: Path, name: str, shape: tuple[int, int] = (1100, 800)) -> None:
    """A slide of 0.934 um/px, pink all over."""
    pixels = np.random.default_rng(1).normal((215, 150, 190), 6, (*shape, 3)).astype(np.uint8)
    per_cm = 1e4 / 0.934
    tags = {"tile": (256, 256), "resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(folder / f"{name}.svs", pixels, photometric="rgb", **tags)


def write_pair(folder: Path, name: str, shape: tuple[int, int] = (1100, 800)) -> None:
    """A slide with a benign and an invasive region."""
    write_slide(folder, name, shape)
    write_xml(folder / f"{name}.xml", [BENIGN, INVASIVE], mpp=0.934)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("x", "y", "z"):
        write_pair(tmp_path, name)
    return tmp_path


def test_own_slides(folder: Path) -> None:
    answer = prepare("bach", folder, "--validation", "y", "--test", "z", "--slices", 3, 2, 4)
    assert answer.exit_code == 0, answer.output
    index = SlideIndex.load(folder / "darefine-index" / "index.json")
    assert index.source == "bach"
    sets = (index.cohort.train, index.cohort.validation, index.cohort.test)
    assert [[pair.slide.name for pair in pairs] for pairs in sets] == [["x.svs"], ["y.svs"], ["z.svs"]]
    # Six places, three of them beside the benign region.
    assert [len(slices) for slices in (index.train, index.validation, index.test)] == [3, 2, 4]
    assert sum(planned.shares[2] > 0 for planned in index.train) == 2
    area = 460 * 460 * 0.934**2 / 1e6
    for told in ("benign", f"{area:.2f}", "wanted", "index.json in"):
        assert told in answer.output


def test_another_seed_plans_other_slices_and_the_same_the_same(folder: Path) -> None:
    def planned(seed: int) -> object:
        arguments = ("--validation", "y", "--slices", 2, 1, 0, "--seed", seed, "--out", folder / "index")
        assert prepare("bach", folder, *arguments).exit_code == 0
        return SlideIndex.load(folder / "index" / "index.json")

    first = planned(1)
    assert planned(1) == first
    assert any(planned(seed) != first for seed in (2, 3, 4))


def test_the_papers_split_is_the_default(tmp_path: Path) -> None:
    split = BACH_SPLITS["paper"]
    for name in (*split.train, *split.validation, *split.test):
        write_pair(tmp_path, name, (600, 560))
    answer = prepare("bach", tmp_path, "--out", tmp_path / "index", "--context-ratio", 10)
    assert answer.exit_code == 0, answer.output
    index = SlideIndex.load(tmp_path / "index" / "index.json")
    assert [pair.slide.stem for pair in index.cohort.test] == ["A05"]
    assert len(index.cohort.train) == 7
    assert index.input.context_ratio == 10


def test_what_is_wrong_is_told_without_a_traceback(folder: Path) -> None:
    for arguments, message in (
        ((folder,), "lacks A02.svs"),
        ((folder, "--validation", "q"), "q: no such slide"),
        ((folder / "nowhere",), "is no folder"),
        ((folder, "--test", "z"), "others for --validation"),
    ):
        answer = prepare("bach", *arguments)
        assert answer.exit_code == 1
        assert message in answer.output
        assert "Traceback" not in answer.output
    both = prepare("bach", folder, "--split", "paper", "--test", "z")
    assert both.exit_code == 2
    assert "leave it out with --validation and --test" in both.output


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Phantoms that are quick to make, all of one colour and class; what was made is listed."""
    calls: list[tuple[str, int, int]] = []

    def write_flat(
        out: Path, *, size_px: int, seed: int, version: int, progress: Callable[[float], None]
    ) -> None:
        calls.append((out.name, size_px, seed))
        per_cm = 1e4 / 0.467
        tags = {"tile": (512, 512), "resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(out, np.full((size_px, size_px, 3), 200, np.uint8), photometric="rgb", **tags)
        for name in (f"{out.stem}-truth.tif", f"{out.stem}-truth-overlay.tif"):
            truth = np.full((size_px // 2, size_px // 2), 3, np.uint8)
            tifffile.imwrite(out.with_name(name), truth, photometric="minisblack", tile=(512, 512))
        progress(1.0)

    monkeypatch.setattr("model.data.phantom.write_phantom", write_flat)
    return calls


def test_phantoms(tmp_path: Path, made: list[tuple[str, int, int]]) -> None:
    arguments = ("phantom", tmp_path, "--slides", 2, "--validation", 1, "--test", 1, "--seed", 4)
    sizes = ("--size", 2048, "--held-out-size", 1100)
    answer = prepare(*arguments, *sizes)
    assert answer.exit_code == 0, answer.output
    index = SlideIndex.load(tmp_path / "index.json")
    assert index.source == "phantom"
    assert index.train + index.validation + index.test == ()
    assert [pair.slide.name for pair in index.cohort.train] == [
        "phantom-v2-2048-4.tif",
        "phantom-v2-2048-5.tif",
    ]
    assert len({seed for _, _, seed in made}) == 4
    assert [size for _, size, _ in made] == [2048, 2048, 1100, 1100]

    answer = prepare(*arguments, *sizes, "--plan", "--context-ratio", 20)

    assert answer.exit_code == 0, answer.output
    assert len(made) == 4  # kept
    planned = SlideIndex.load(tmp_path / "index.json")
    assert planned.cohort == index.cohort
    assert planned.input.context_ratio == 20
    assert [len(slices) for slices in (planned.train, planned.validation, planned.test)] == [18, 1, 1]
    assert {slices.shares for slices in planned.train} == {(0.0, 0.0, 0.0, 1.0, 0.0)}


def test_preparing_loads_no_torch() -> None:
    code = "import sys, darefine.cli.prepare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
