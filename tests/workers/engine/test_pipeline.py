"""The pipeline with a network whose every output pixel is known: geometry, resume, cancel, refusal."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray

from model.card import CardWeights, ModelCard, NetworkConfig, Normalisation
from model.inference.batching import BatchSize
from model.inference.transfer import PendingLabels
from workers.engine.hooks import Hooks
from workers.engine.pipeline import run_pipeline
from workers.errors import JobCancelledError, NotEnoughDiskError
from workers.identity import LabelIdentity
from workers.jobs import JobFiles, JobParameters, Progress
from workers.protocol import RunJob
from wsi.errors import MppUnknownError, SlideUnreadableError
from wsi.grid import InputGeometry
from wsi.palette import LabelClass
from wsi.patch_view import PatchView
from wsi.tissue import TissueMask

CARD = ModelCard(
    name="threshold",
    version="1",
    title="t",
    description="d",
    intended_use="tests",
    phantom=True,
    classes=(LabelClass(1, "dark", (0, 0, 0)), LabelClass(2, "light", (255, 0, 0))),
    input=InputGeometry(mpp=1.0, context_ratio=5, slices_per_side=5, halo_px=16),
    normalisation=Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    network=NetworkConfig(),
    weights=CardWeights("t.safetensors", "0" * 64, "float16"),
)

Undisturbed = tuple[JobFiles, list[Progress]]


class Threshold:
    """A Segmenter that labels a pixel by its own green value, and counts the patches."""

    card = CARD
    device = "cpu"
    dtype = "float32"
    compiled = False
    batch_size_asked: BatchSize = "auto"
    backend = "torch"

    @property
    def batch_matters(self) -> bool:
        return self.device != "cpu"

    def __init__(self) -> None:
        self.patches = 0

    def batch_size(self, _: PatchView) -> int:
        return 4

    def submit(self, pixels: NDArray[np.uint8], view: PatchView, **_: Any) -> PendingLabels:
        self.patches += 1
        own = (rect.moved(-view.region.x, -view.region.y) for rect in view.slices)
        inner = [pixels[one.y : one.bottom, one.x : one.right, 1] for one in own]
        return PendingLabels(torch.from_numpy(np.where(np.stack(inner) < 120, 1, 2).astype(np.uint8)))

    def collect(self, pending: PendingLabels, **_: Any) -> NDArray[np.uint8]:
        return pending.wait()


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    """A tissue-coloured slide of 5800 x 5240 l0 px in 2 x 2 blocks of one colour, with glass on the right."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(60, 180, (2620, 2900, 3), np.uint8)
    blocks[:, 2650:] = 245
    return np.repeat(np.repeat(blocks, 2, 0), 2, 1)


@pytest.fixture(scope="module")
def slide(pixels: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slide") / "blocks.tif"
    tifffile.imwrite(
        path,
        pixels,
        tile=(512, 512),
        photometric="rgb",
        compression="adobe_deflate",
        resolution=(2e4, 2e4),  # px per cm: 0.5 um/px
        resolutionunit="CENTIMETER",
    )
    return path


@pytest.fixture
def run(slide: Path, tmp_path: Path) -> RunJob:
    """A job on the slide."""
    return RunJob("job", 1, slide.name, str(slide), str(tmp_path / "job"), CARD.name, JobParameters())


def go(
    run: RunJob,
    network: Any = None,
    report: Callable[[Progress], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> JobFiles:
    run_pipeline(run, network or Threshold(), report, cancelled)
    return JobFiles(Path(run.directory))


def prepare(run: RunJob) -> JobFiles:
    """Have the tissue mask made as it is made while another job runs."""
    files = JobFiles(Path(run.directory))
    files.directory.mkdir()
    card_input = json.dumps(asdict(CARD.input))
    subprocess.run([sys.executable, "-m", "workers.engine.tissue", run.to_json(), card_input], check=True)
    return files


@pytest.fixture(scope="module")
def undisturbed(slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The files of a run that nobody disturbed, and what it reported."""
    directory = tmp_path_factory.mktemp("undisturbed")
    seen: list[Progress] = []
    run = RunJob("job", 1, slide.name, str(slide), str(directory), CARD.name, JobParameters())
    return go(run, report=seen.append), seen


def test_every_label_pixel_is_that_of_its_own_slide_pixels(
    undisturbed: Undisturbed, pixels: NDArray[np.uint8]
) -> None:
    labels = tifffile.imread(undisturbed[0].labels)
    expected = np.where(pixels[::2, ::2, 1] < 120, 1, 2)
    assert labels.shape == expected.shape
    tissue = labels > 0
    np.testing.assert_array_equal(labels[tissue], expected[tissue])
    assert tissue[:, :2640].all(), "no hole in the tissue"
    assert not tissue[:, 2800:].any(), "glass is 0"


@pytest.mark.slow
def test_without_tissue_search_all_is_labelled(run: RunJob, pixels: NDArray[np.uint8]) -> None:
    labels = tifffile.imread(go(replace(run, parameters=JobParameters(tissue=False))).labels)
    np.testing.assert_array_equal(labels, np.where(pixels[::2, ::2, 1] < 120, 1, 2))


def test_result_adds_up(undisturbed: Undisturbed) -> None:
    files, _ = undisturbed
    result = json.loads(files.result.read_text())
    labels = tifffile.imread(files.labels)
    for item in result["classes"]:
        assert item["pixels"] == np.count_nonzero(labels == item["value"])
        assert item["area_mm2"] == pytest.approx(item["pixels"] * 1e-6, abs=1e-6)
    assert sum(item["fraction"] for item in result["classes"]) == pytest.approx(1, abs=1e-5)
    assert result["mpp"] == {
        "slide": pytest.approx(0.5),
        "source": "tiff-resolution",
        "label": pytest.approx(1.0),
        "downsample": 2,
        "resampled": False,
    }
    assert not files.patches.exists(), "the store is gone once the pyramids are there"


def test_progress_grows_to_the_last_patch(undisturbed: Undisturbed) -> None:
    _, seen = undisturbed
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert seen[0].stage == "plan"
    assert seen[-1].stage == "pyramid"
    assert seen[-1].patches_done == seen[-1].patches_total == 4


@pytest.mark.slow
def test_resume_runs_only_the_missing_patches_and_gives_the_same_bytes(
    run: RunJob, undisturbed: Undisturbed
) -> None:
    whole, _ = undisturbed
    network, done = Threshold(), []

    def report(progress: Progress) -> None:
        done.append(progress.patches_done)

    with pytest.raises(JobCancelledError):
        go(run, network, report, cancelled=lambda: network.patches >= 2)
    stored = max(done)
    assert 0 < stored <= 2
    again = Threshold()
    files = go(run, again)
    assert again.patches == 4 - stored
    assert files.labels.read_bytes() == whole.labels.read_bytes()
    assert files.overlay.read_bytes() == whole.overlay.read_bytes()


@pytest.mark.slow
def test_a_mask_made_ahead_is_used_and_gives_the_same_bytes(run: RunJob, undisturbed: Undisturbed) -> None:
    files = prepare(run)
    before = files.tissue.stat().st_mtime_ns
    go(run)
    assert files.tissue.stat().st_mtime_ns == before
    assert files.labels.read_bytes() == undisturbed[0].labels.read_bytes()
    assert files.overlay.read_bytes() == undisturbed[0].overlay.read_bytes()


def leave_empty_mask(run: RunJob) -> None:
    files = prepare(run)
    mask = np.zeros((4, 4), np.bool_)
    TissueMask(mask, 16).save(files.tissue, origin="something else")


def leave_mask_of_other_mpp(run: RunJob) -> None:
    prepare(replace(run, parameters=JobParameters(mpp=0.52)))


def leave_damaged_mask(run: RunJob) -> None:
    prepare(run).tissue.write_bytes(b"PK")


@pytest.mark.slow
@pytest.mark.parametrize("leave", [leave_empty_mask, leave_mask_of_other_mpp, leave_damaged_mask])
def test_a_mask_made_of_anything_else_is_made_again(
    run: RunJob, undisturbed: Undisturbed, leave: Callable[[RunJob], None]
) -> None:
    leave(run)
    files = go(run)
    assert files.tissue.read_bytes() == undisturbed[0].tissue.read_bytes()
    assert files.labels.read_bytes() == undisturbed[0].labels.read_bytes()


@pytest.mark.slow
def test_a_mask_of_a_slide_that_was_replaced_is_made_again(run: RunJob, slide: Path, tmp_path: Path) -> None:
    replaced = tmp_path / "replaced.tif"
    shutil.copyfile(slide, replaced)
    run = replace(run, slide_path=str(replaced))
    before = prepare(run).tissue.read_bytes()
    with replaced.open("ab") as file:
        file.write(b"\0")
    assert go(run).tissue.read_bytes() != before


def test_unknown_mpp_says_what_to_send(run: RunJob, tmp_path: Path) -> None:
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, np.full((600, 600, 3), 120, np.uint8), tile=(256, 256), photometric="rgb")
    with pytest.raises(MppUnknownError, match=r"mpp="):
        go(replace(run, slide_path=str(path)))
    go(replace(run, slide_path=str(path), parameters=JobParameters(mpp=0.5)))


def test_full_disk_is_refused_up_front(run: RunJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**6))
    network = Threshold()
    with pytest.raises(NotEnoughDiskError, match="free"):
        go(run, network)
    assert network.patches == 0


def test_a_damaged_tile_ends_the_run(run: RunJob, tmp_path: Path, slide: Path) -> None:
    bad = tmp_path / "slide.tif"
    content = bytearray(slide.read_bytes())
    with tifffile.TiffFile(slide) as tiff:
        page = tiff.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        offset, length = page.dataoffsets[60], page.databytecounts[60]
    content[offset : offset + length] = bytes(length)
    bad.write_bytes(content)
    with pytest.raises(SlideUnreadableError):
        go(replace(run, slide_path=str(bad)))


@pytest.mark.slow
def test_patches_of_another_model_are_never_mixed_in(run: RunJob) -> None:
    network = Threshold()
    with pytest.raises(JobCancelledError):
        go(run, network, cancelled=lambda: network.patches >= 2)
    other = Threshold()
    other.card = replace(CARD, weights=replace(CARD.weights, sha256="1" * 64))
    go(run, other)
    assert other.patches == 4


@pytest.mark.slow
def test_a_like_host_goes_on_with_a_copy_of_the_slide_and_an_unlike_one_removes_nothing(
    run: RunJob, slide: Path, tmp_path: Path
) -> None:
    first, unlike, again = Threshold(), Threshold(), Threshold()
    with pytest.raises(JobCancelledError):
        go(run, first, cancelled=lambda: first.patches >= 3)
    files = JobFiles(Path(run.directory))
    stored = {path.relative_to(files.patches): path.read_bytes() for path in files.patches.glob("*/*")}
    unlike.dtype = "bfloat16"
    with pytest.raises(JobCancelledError):
        go(run, unlike, cancelled=lambda: unlike.patches >= 1)
    assert (
        stored.items()
        <= {path.relative_to(files.patches): path.read_bytes() for path in files.patches.glob("*/*")}.items()
    )
    assert len(list(files.patches.iterdir())) == 2
    copy = tmp_path / "elsewhere" / slide.name
    copy.parent.mkdir()
    shutil.copyfile(slide, copy)
    os.utime(copy, ns=(0, 0))
    go(replace(run, slide_path=str(copy)), again)
    assert again.patches == 4 - len(stored)
    assert not files.patches.exists()


def test_nothing_is_removed_while_another_attempt_may_be_at_work(run: RunJob) -> None:
    seen: list[LabelIdentity] = []
    run_pipeline(run, Threshold(), lambda _: None, lambda: False, Hooks(seen.append, lambda: False))
    files = JobFiles(Path(run.directory))
    assert files.result.exists()
    assert [folder.name for folder in files.patches.iterdir()] == [seen[0].digest]
    network = Threshold()
    go(run, network)
    assert network.patches == 0, "the result is whole"
    assert not files.patches.exists()


@pytest.mark.slow
def test_a_finished_run_is_not_run_again(run: RunJob) -> None:
    files = go(run)
    before = files.result.read_bytes()
    network = Threshold()
    go(run, network)
    assert network.patches == 0
    assert files.result.read_bytes() == before
    files.overlay.write_bytes(files.overlay.read_bytes()[:-1])
    go(run, network)
    assert network.patches == 4, "a result that is not whole is made again"


@pytest.mark.slow
def test_half_written_files_of_a_killed_attempt_are_removed(run: RunJob) -> None:
    directory = Path(run.directory)
    directory.mkdir()
    (directory / ".labels.tif.0123.partial").write_bytes(b"x")
    go(run)
    assert not list(directory.glob(".*"))


class Distant(Threshold):
    """As a GPU: labels are there a while after they were asked for. `log` has the order of events."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    def submit(self, *arguments: Any, **keywords: Any) -> PendingLabels:
        self.log.append("submit")
        labels = super().submit(*arguments, **keywords).labels
        return PendingLabels(labels, SimpleNamespace(query=lambda: False, synchronize=self._waited))  # type: ignore[arg-type]

    def _waited(self) -> None:
        self.log.append("wait")


@pytest.mark.slow
def test_a_gpu_has_the_next_patch_before_the_last_is_waited_for(
    run: RunJob, undisturbed: Undisturbed
) -> None:
    network = Distant()
    files = go(run, network)
    assert network.log == ["submit", "submit", "wait", "submit", "wait", "submit", "wait", "wait"]
    assert files.labels.read_bytes() == undisturbed[0].labels.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "way", "value", "again"),
    [
        ("cpu", "compiled", True, True),
        ("cpu", "backend", "onnxruntime 1.20.0", True),
        ("cpu", "backend", "openvino 2026.4.1, int8 graph 0123456789ab", True),
        ("cuda:0", "batch_size_asked", 8, True),
        ("cpu", "batch_size_asked", 8, False),
    ],
)
def test_patches_are_mixed_only_where_the_way_they_were_computed_does_not_matter(
    run: RunJob, device: str, way: str, value: object, again: bool
) -> None:
    network, other = Threshold(), Threshold()
    network.device = other.device = device
    with pytest.raises(JobCancelledError):
        go(run, network, cancelled=lambda: network.patches >= 2)
    setattr(other, way, value)
    result = json.loads(go(run, other).result.read_text())
    assert (other.patches == 4) is again
    assert result["backend"] == (value if way == "backend" else "torch")
    assert (result["batch_size"], result["compiled"]) == (4, way == "compiled")
