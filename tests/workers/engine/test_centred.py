"""Jobs whose slices each see a context centred on them: no jump at a patch's border, exact resume."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from torch import Tensor

from model.card import UNWRITTEN, ModelCard, NetworkConfig, Normalisation
from model.inference.openvino_backend import OpenVinoBackend
from model.inference.openvino_runtime import has_openvino
from model.inference.segmenter import Segmenter
from model.network.base import ContextFeatures, ContextWindows, SegmentationNetwork
from model.network.blocks import box_means
from model.network.build import build_network
from model.network.init import initialise
from workers.engine.pipeline import run_pipeline
from workers.errors import JobCancelledError
from workers.jobs import JobFiles, JobParameters
from workers.protocol import RunJob
from wsi.grid import InputGeometry
from wsi.palette import LabelClass

CARD = ModelCard(
    name="centred",
    version="1",
    title="",
    description="",
    intended_use="",
    phantom=True,
    classes=(LabelClass(1, "dark", (0, 0, 0)), LabelClass(2, "light", (255, 0, 0))),
    input=InputGeometry(mpp=1.0, context_ratio=8, slices_per_side=2, halo_px=16, context="centred"),
    normalisation=Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    network=NetworkConfig(
        encoder_depth=18, context_depth=18, encoder_width=8, decoder_width=8, second_input="aligned"
    ),
    weights=UNWRITTEN,
)
SLICES = 6
"""Along each side of the slide: three patches."""


class ByContext(SegmentationNetwork):
    """Class 1 where what the slice sees as context is dark in the mean, else class 2."""

    def encode_context(self, context: Tensor, windows: ContextWindows | None = None) -> ContextFeatures:
        boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]]) if windows is None else windows.boxes
        means = box_means(context, boxes)
        return ContextFeatures(means[..., None, None])

    def forward(self, slices: Tensor, context: Any = None, boxes: Tensor | None = None) -> Tensor:
        brightness = context.coarse[:, :1].expand(len(slices), -1, slices.shape[2] // 4, slices.shape[3] // 4)
        return torch.cat([0.5 - brightness, brightness - 0.5], 1)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ever brighter from left to right, at 1 um/px; half way between dark and light at its middle. Noisy."""
    side = 512 * SLICES
    noise = np.random.default_rng(0).integers(-20, 21, (side // 4, side // 4, 3))
    pixels = (np.linspace(90, 165, side)[:, None] + noise.repeat(4, 0).repeat(4, 1)).astype(np.uint8)
    path = tmp_path_factory.mktemp("slide") / "ramp.tif"
    tags: dict[str, Any] = {"tile": (512, 512), "photometric": "rgb", "compression": "adobe_deflate"}
    tifffile.imwrite(path, pixels, resolution=(1e4, 1e4), resolutionunit="CENTIMETER", **tags)
    return path


def segmenter_of(network: SegmentationNetwork, card: ModelCard = CARD, **options: Any) -> Segmenter:
    return Segmenter(network, card, device="cpu", precision="fp32", **options)


def go(
    slide: Path, out: Path, segmenter: Segmenter, cancelled: Callable[[], bool] = lambda: False
) -> JobFiles:
    run = RunJob("job", 1, slide.name, str(slide), str(out), CARD.name, JobParameters(tissue=False))
    run_pipeline(run, segmenter, lambda _: None, cancelled)
    return JobFiles(out)


def middle_row(files: JobFiles) -> list[int]:
    """The label in the middle of each slice of the third row, but of those at the slide's edges."""
    labels = tifffile.imread(files.labels)
    return [int(labels[2 * 512 + 256, 512 * column + 256]) for column in range(1, SLICES - 1)]


def test_the_class_changes_where_the_surroundings_do_and_not_at_the_borders_of_patches(
    slide: Path, tmp_path: Path
) -> None:
    by_slice = middle_row(go(slide, tmp_path / "centred", segmenter_of(tall(ByContext()))))
    patch = replace(CARD, input=replace(CARD.input, context="patch"))
    by_patch = middle_row(go(slide, tmp_path / "patch", segmenter_of(tall(ByContext()), patch)))
    assert by_slice == [1, 1, 2, 2]
    # The middle patch has one context, and so one class: it changes at a border of patches.
    assert by_patch[1] == by_patch[2]


def tall(network: SegmentationNetwork) -> SegmentationNetwork:
    """The network with what loading expects of one."""
    network.classify = torch.nn.Conv2d(1, 2, 1)
    return network


@pytest.fixture(scope="module")
def network() -> SegmentationNetwork:
    network = build_network(CARD.network, 2)
    initialise(network, seed=1)
    like_slide = (0.5 + 0.1 * torch.rand(4, 3, 16, 16)).repeat_interleave(8, 2).repeat_interleave(8, 3)
    boxes = torch.tensor([[0.2, 0.2, 0.6, 0.6]]).expand(4, -1)
    with torch.no_grad():
        network.eval().classify.weight.mul_(1000)
        assert network.classify.bias is not None
        network.classify.bias.sub_(network(like_slide, like_slide[:1], boxes).mean((0, 2, 3)))
    return network


def after(patches: int) -> Iterator[bool]:
    """Answers to "cancelled?": no for so many patches, then yes."""
    yield from [False] * patches
    while True:
        yield True


def in_openvino(network: SegmentationNetwork, **options: Any) -> Segmenter:
    return Segmenter(OpenVinoBackend(network, CARD.normalisation), CARD, **options)


needs_openvino = pytest.mark.skipif(not has_openvino(), reason="openvino is not installed")


@pytest.mark.parametrize(
    ("load", "batch_size"),
    [
        (segmenter_of, 1),
        (segmenter_of, 3),
        pytest.param(in_openvino, 3, marks=[needs_openvino, pytest.mark.slow]),
    ],
)
def test_a_job_that_was_stopped_goes_on_to_the_same_bytes(
    slide: Path,
    tmp_path: Path,
    network: SegmentationNetwork,
    load: Callable[..., Segmenter],
    batch_size: int,
) -> None:
    whole = go(slide, tmp_path / "whole", load(network, batch_size=4))
    answers = after(2)
    with pytest.raises(JobCancelledError):
        go(slide, tmp_path / "parts", load(network, batch_size=4), lambda: next(answers))
    done = sorted(path.name for path in JobFiles(tmp_path / "parts").patches.glob("*/*"))
    assert 1 <= len(done) < 9
    parts = go(slide, tmp_path / "parts", load(network, batch_size=batch_size))
    assert len(np.unique(tifffile.imread(whole.labels))) > 1
    assert parts.labels.read_bytes() == whole.labels.read_bytes()
    assert parts.overlay.read_bytes() == whole.overlay.read_bytes()
