"""Windows of a slice, a quarter of a patch or the whole patch: what they label, and exact resume."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from model.card import ModelCard
from model.inference.segmenter import Segmenter
from model.network.base import SegmentationNetwork
from model.network.build import build_network
from model.network.init import initialise
from tests.workers.engine.test_centred import CARD, after, tall
from workers.engine.pipeline import run_pipeline
from workers.errors import JobCancelledError
from workers.jobs import JobFiles, JobParameters
from workers.protocol import RunJob
from wsi.geometry import WindowSpan


class Brightness(SegmentationNetwork):
    """Class 1 where a pixel is dark, else class 2, whatever the window."""

    def forward(self, slices: torch.Tensor, context: Any = None, boxes: Any = None) -> torch.Tensor:
        bright = slices[:, :1] - 0.5
        return torch.cat([-bright, bright], 1)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise in squares of 8 px, 5 x 2 slices at 1 um/px: two patches of 4 x 4, both cut off."""
    pixels = np.random.default_rng(0).integers(60, 200, (1024 // 8, 2560 // 8, 3)).astype(np.uint8)
    path = tmp_path_factory.mktemp("slide") / "noise.tif"
    tags: dict[str, Any] = {"tile": (512, 512), "photometric": "rgb", "compression": "adobe_deflate"}
    tags |= {"resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, pixels.repeat(8, 0).repeat(8, 1), **tags)
    return path


def go(
    slide: Path,
    out: Path,
    network: SegmentationNetwork,
    window: WindowSpan | None,
    cancelled: Callable[[], bool] = lambda: False,
    *,
    card: ModelCard = CARD,
    **options: Any,
) -> JobFiles:
    segmenter = Segmenter(network, card, device="cpu", precision="fp32", **options)
    parameters = JobParameters(tissue=False, window=window)
    run = RunJob("job", 1, slide.name, str(slide), str(out), card.name, parameters)
    run_pipeline(run, segmenter, lambda _: None, cancelled)
    return JobFiles(out)


@pytest.mark.parametrize("window", ["slice", "quarter", "patch"])
@pytest.mark.parametrize("slices_per_side", [2, 5])
def test_every_pixel_is_labelled_once_whatever_the_window(
    slide: Path, tmp_path: Path, slices_per_side: int, window: WindowSpan
) -> None:
    geometry = replace(CARD.input, slices_per_side=slices_per_side, context="patch")
    card = replace(CARD, input=geometry, network=replace(CARD.network, second_input="single"))
    files = go(slide, tmp_path, tall(Brightness()), window, card=card)
    dark = tifffile.imread(slide)[..., 0] < 127.5
    np.testing.assert_array_equal(tifffile.imread(files.labels), np.where(dark, 1, 2))


@pytest.fixture(scope="module")
def network() -> SegmentationNetwork:
    network = build_network(CARD.network, 2)
    initialise(network, seed=1)
    with torch.no_grad():
        network.eval().classify.weight.mul_(1000)
        noise = torch.rand(2, 3, 128, 128)
        boxes = torch.tensor([[0.2, 0.2, 0.6, 0.6]]).expand(2, -1)
        network.classify.get_parameter("bias").sub_(network(noise, noise[:1], boxes).mean((0, 2, 3)))
    return network


def test_a_stopped_job_goes_on_to_the_same_bytes_with_other_batches(
    slide: Path, tmp_path: Path, network: SegmentationNetwork
) -> None:
    card = replace(CARD, input=replace(CARD.input, slices_per_side=4, window="quarter"))
    whole = go(slide, tmp_path / "whole", network, None, card=card, batch_size=1)
    answers: Iterator[bool] = after(1)
    with pytest.raises(JobCancelledError):
        go(slide, tmp_path / "parts", network, None, lambda: next(answers), card=card, batch_size=64)
    assert len(list(JobFiles(tmp_path / "parts").patches.glob("*/*"))) == 1
    parts = go(slide, tmp_path / "parts", network, None, card=card, batch_size=64)
    assert len(np.unique(tifffile.imread(whole.labels))) > 1
    assert parts.labels.read_bytes() == whole.labels.read_bytes()
    # The window is part of what makes labels: patches of another one are not gone on from.
    other = go(slide, tmp_path / "parts", network, "slice", card=card, batch_size=64)
    differ = tifffile.imread(other.labels) != tifffile.imread(whole.labels)
    assert 0 < differ.mean() < 0.2
