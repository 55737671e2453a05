"""What measuring is made of: a network that costs nothing, the network alone, memory, medians."""

import mmap
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from model.card import NetworkConfig
from model.inference.segmenter import Segmenter
from model.network.base import ContextFeatures, ContextWindows
from workers.bench.measure import Run, figures, machine, stand_in_of, time_network
from workers.bench.memory import MemoryWatch
from wsi.geometry import Rect, Size
from wsi.grid import InputGeometry, make_grid
from wsi.patch_view import PatchView
from wsi.plan import Patch, Plan

from ..engine.test_pipeline import CARD


class Slow:
    """Back end that sleeps, and notes what it was given."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def encode_context(self, image: Tensor, windows: ContextWindows | None) -> ContextFeatures:
        self.seen.append(tuple(image.shape))
        empty = image.new_zeros(1 if windows is None else len(windows.boxes), 1)
        return ContextFeatures(empty[..., None, None])

    def logits(
        self, windows: Tensor, context: ContextFeatures | None, boxes: Tensor, margin: int = 0
    ) -> Tensor:
        assert margin == 0
        assert len(boxes) == len(windows)
        assert windows.max() > 200  # pixels, as a job hands them over
        if context is not None:
            assert len(context.coarse) in {1, len(windows)}
        self.seen.append(tuple(windows.shape))
        time.sleep(0.01)
        return windows[:, :2]


@pytest.mark.parametrize(
    ("second_input", "context", "context_px"),
    [("dual", "patch", 224), ("single", "patch", 0), ("dual", "centred", 352)],
)
def test_the_network_alone_runs_the_batches_of_the_job(
    second_input: Any, context: Any, context_px: int
) -> None:
    grid = make_grid(Size(3000, 3000), 1.0, InputGeometry(1.0, 5, 2, 16, context))
    tiles = ((0, 0), (1, 0), (0, 1))
    plan = Plan(grid, tuple(Patch(index, index, 0, tiles) for index in range(2)))
    network = Slow()
    card = SimpleNamespace(network=NetworkConfig(second_input=second_input))
    segmenter = SimpleNamespace(
        computing=network, card=card, device="cpu", compiled=False, margin=lambda _: 0
    )

    run = time_network(segmenter, plan, batch_size=2)  # type: ignore[arg-type]

    slices = [(2, 3, 544, 544), (1, 3, 544, 544)]
    assert network.seen == 2 * ([(1, 3, context_px, context_px)] * (context_px > 0) + slices)
    assert run.seconds >= 0.04
    assert (run.patches, run.megapixels) == (2, pytest.approx(6 * grid.slice_megapixels_l0))


def test_the_stand_in_labels_by_brightness() -> None:
    segmenter = stand_in_of(
        SimpleNamespace(card=CARD, device="cpu", dtype="fp32"),  # type: ignore[arg-type]
        batch_size=2,
    )
    assert isinstance(segmenter, Segmenter)
    pixels = np.full((256, 256, 3), 40, np.uint8)
    pixels[:, 128:] = 220

    region = Rect(0, 0, 256, 256)
    (labels,) = segmenter.label_patch(pixels, PatchView(region, region, ((0, 0),), 256, 0, 256, 64))

    assert (labels[:, :100] == 1).all()
    assert (labels[:, 156:] == 2).all()


def test_memory_is_watched_from_now_on() -> None:
    watch = MemoryWatch("cpu")
    # Fresh pages: an allocator may give what is resident already.
    with mmap.mmap(-1, 50_000_000) as block:
        block.write(b"x" * 50_000_000)
    idle, peak = watch.idle_mb, watch.peak_mb()
    assert idle is not None
    assert peak is not None
    assert peak >= idle + 40
    assert watch.gpu_peak_mb() is None


def test_the_median_run_is_reported_with_the_range() -> None:
    runs = [Run(seconds, 10.0, 3, {"read": seconds / 2}) for seconds in (4.0, 2.0, 2.5)]
    assert figures(runs) == {
        "seconds": 2.5,
        "seconds_range": [2.0, 4.0],
        "patches": 3,
        "megapixels": 10.0,
        "megapixels_per_second": 4.0,
        "stage_seconds": {"read": 1.25},
    }


def test_the_machine_says_what_it_is() -> None:
    facts = machine()
    assert facts["cores"] >= 1
    assert "gpu" not in facts
