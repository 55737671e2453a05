"""Jobs in int8: the same bytes whatever the threads and the batch, stopped or not."""

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from model.card import CardWeights
from model.inference.openvino_runtime import has_openvino
from model.inference.quantise import SamplePatch, quantise
from model.inference.segmenter import Segmenter
from model.network.base import SegmentationNetwork
from model.weights import save_weights
from workers.errors import JobCancelledError
from wsi.grid import make_grid
from wsi.plan import make_plan
from wsi.reading.patch_pixels import read_patch
from wsi.reading.slide import open_slide
from wsi.tissue import TissueMask

from . import test_centred
from .test_centred import CARD, after, go

slide, network = test_centred.slide, test_centred.network
pytestmark = [
    pytest.mark.skipif(find_spec("nncf") is None or not has_openvino(), reason="needs openvino and nncf"),
    pytest.mark.slow,
]


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def card(tmp_path: Path, network: SegmentationNetwork, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Card of a network with random weights, whose labels in int8 may be others than in fp32."""
    monkeypatch.setattr("model.inference.int8_graph.LEAST_AGREEMENT", 0.1)
    sha256 = save_weights(network, tmp_path / "w.safetensors", "float32")
    path = tmp_path / "card.json"
    replace(CARD, weights=CardWeights("w.safetensors", sha256, "float32")).save(path)
    return path


def samples(path: Path) -> list[SamplePatch]:
    """All slices of two patches."""
    with open_slide(path) as opened:
        assert opened.info.mpp is not None
        grid = make_grid(opened.info.size, opened.info.mpp.value, CARD.input)
        plan = make_plan(grid, TissueMask.everywhere(grid, opened.info.bounds))
        found = []
        for patch in plan.patches[::5]:
            view = plan.view(patch)
            pixels = read_patch(opened, view, plan.grid.downsample)
            tissue = np.ones((len(view.corners), view.slice_px, view.slice_px), np.bool_)
            found.append(SamplePatch(pixels.region, view, pixels.context, tissue))
    return found


def test_a_stopped_job_goes_on_to_the_same_bytes_with_other_threads_and_batches(
    slide: Path, card: Path, tmp_path: Path, threads: None
) -> None:
    first, second = samples(slide)
    quantise(card, [first], [second], tmp_path / "int8", slides=1)

    def load(count: int, batch_size: int) -> Segmenter:
        torch.set_num_threads(count)
        return Segmenter.load(
            card, device="cpu", precision="int8", batch_size=batch_size, int8_dir=tmp_path / "int8"
        )

    whole = go(slide, tmp_path / "whole", load(2, 4))
    answers = after(2)
    with pytest.raises(JobCancelledError):
        go(slide, tmp_path / "parts", load(2, 4), lambda: next(answers))
    parts = go(slide, tmp_path / "parts", load(1, 1))
    assert len(np.unique(tifffile.imread(whole.labels))) > 1
    assert parts.labels.read_bytes() == whole.labels.read_bytes()
    assert parts.overlay.read_bytes() == whole.overlay.read_bytes()
